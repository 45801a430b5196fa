#include "generate/token_chooser.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"

namespace salient::generate {

TokenChooser::TokenChooser(ChoiceRules rules) : rules_(std::move(rules)), sampler_(rules_.sampling) {
  check(rules_.logit_bias);
}

bool TokenChooser::ends_reply(int32_t id) const {
  return std::find(rules_.ends.begin(), rules_.ends.end(), id) != rules_.ends.end();
}

/// The row itself, or a copy with what the rules change and forbid.
std::span<const float> TokenChooser::allowed_logits(std::span<const float> row, const TextSoFar& text) {
  const bool may_end = std::ssize(text.tokens) >= rules_.min_length;
  if (!changes_logits(rules_.sampling, rules_.logit_bias) && may_end && !rules_.mask) return row;
  scratch_.assign(row.begin(), row.end());
  change_logits(rules_.sampling, rules_.logit_bias, text, scratch_);
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  for (const int32_t end : rules_.ends) {
    if (!may_end && end >= 0 && end < std::ssize(scratch_)) scratch_[end] = kForbidden;
  }
  if (rules_.mask) rules_.mask->apply(scratch_);
  if (scratch_[most_likely(scratch_)] == kForbidden && row[most_likely(row)] != kForbidden) {
    core::fail(core::ErrorKind::kInvalidInput, "no token may follow: penalties, biases and grammar forbid all of them");
  }
  return scratch_;
}

int32_t TokenChooser::choose(std::span<const float> row, const TextSoFar& text) {
  return sampler_.choose(allowed_logits(row, text), rules_.stream, text.tokens.size());
}

int64_t TokenChooser::top_needed(const runner::Runner& runner) const {
  if (changes_logits(rules_.sampling, rules_.logit_bias) || rules_.min_length > 0 || rules_.mask) return 0;
  const int64_t needed = sampler_.top_needed(runner.spec().vocab_size);
  return needed <= runner.most_top_logits() ? needed : 0;
}

int32_t TokenChooser::choose(std::span<const runner::TokenLogit> top, const TextSoFar& text) {
  return sampler_.choose(top, rules_.stream, text.tokens.size());
}

}  // namespace salient::generate
