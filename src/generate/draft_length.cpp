#include "generate/draft_length.h"

#include <algorithm>

namespace salient::generate {

namespace {

constexpr double kLeastGain = 1.05;
/// Weight of a new measurement in the running means.
constexpr double kNewWeight = 0.125;
/// How fast s goes back to the assumed value with each forward pass of one token.
constexpr double kReturnWeight = 1.0 / 256;
/// Guesses of one match length after which the older ones count half.
constexpr double kRememberedGuesses = 32;
/// What is assumed of each match length before guesses are counted, as if that many had been.
constexpr double kAssumedGuesses = 2;

}  // namespace

/// Lengths from 8 to 15 have one row, and those above another.
size_t DraftLength::row_of(int64_t match_length) {
  return match_length < 8 ? static_cast<size_t>(match_length) : match_length < 16 ? 8 : 9;
}

void DraftLength::start_text() {
  for (size_t row = 0; row < guesses_.size(); ++row) {
    guesses_[row] = {kAssumedGuesses * static_cast<double>(row) / static_cast<double>(guesses_.size()),
                     kAssumedGuesses};
  }
}

void DraftLength::count_guess(int64_t match_length, bool right) {
  Guesses& guesses = guesses_[row_of(match_length)];
  guesses.right += right;
  guesses.all += 1;
  if (guesses.all > kRememberedGuesses) guesses = {guesses.right / 2, guesses.all / 2};
}

void DraftLength::count_forward(int64_t tokens, double seconds) {
  if (tokens == 1) {
    // One pass may take many times as long: another program ran, or the context was computed again.
    if (single_seconds_ > 0) seconds = std::min(seconds, 2 * single_seconds_);
    single_seconds_ = single_seconds_ > 0 ? single_seconds_ + kNewWeight * (seconds - single_seconds_) : seconds;
    token_cost_ += kReturnWeight * (kAssumedTokenCost - token_cost_);
  } else if (single_seconds_ > 0) {
    const double measured = (seconds / single_seconds_ - 1) / static_cast<double>(tokens - 1);
    token_cost_ += kNewWeight * (std::clamp(measured, 0.0, 1.0) - token_cost_);
  }
}

int64_t DraftLength::choose(int64_t match_length) const {
  int64_t best = 0;
  double best_gain = kLeastGain;
  double tokens = 1;
  double all_right = 1;
  for (int64_t count = 1; count <= kLongestDraft; ++count) {
    const Guesses& guesses = guesses_[row_of(match_length + count - 1)];
    all_right *= guesses.right / guesses.all;
    tokens += all_right;
    const double gain = tokens / (1 + token_cost_ * static_cast<double>(count));
    if (gain >= best_gain) {
      best = count;
      best_gain = gain;
    }
  }
  return best;
}

}  // namespace salient::generate
