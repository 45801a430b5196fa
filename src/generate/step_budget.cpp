#include "generate/step_budget.h"

#include <algorithm>

namespace salient::generate {

namespace {

/// Fewer would not use the weights that are read often enough.
constexpr int64_t kFewest = 16;
/// Until something is measured.
constexpr int64_t kAtFirst = 64;
/// Of a step without replies.
constexpr double kLongestStepSeconds = 0.5;

void follow(double& average, double value) {
  constexpr double kWeight = 0.2;
  average = average == 0 ? value : average + kWeight * (value - average);
}

}  // namespace

int64_t StepBudget::prompt_tokens(int64_t replies) const {
  if (prompt_token_seconds_ == 0) return std::min(kAtFirst, most_);
  const double seconds = replies == 0 ? kLongestStepSeconds : reply_step_seconds_;
  const double tokens = std::min(seconds / prompt_token_seconds_, static_cast<double>(most_));
  return std::min(std::max(static_cast<int64_t>(tokens), kFewest), most_);
}

void StepBudget::count(int64_t prompt_tokens, int64_t replies, double seconds) {
  if (prompt_tokens == 0) {
    follow(reply_step_seconds_, seconds);
  } else if (prompt_tokens >= kFewest) {
    const double for_replies = replies > 0 ? std::min(reply_step_seconds_, seconds / 2) : 0;
    follow(prompt_token_seconds_, (seconds - for_replies) / static_cast<double>(prompt_tokens));
  }
}

}  // namespace salient::generate
