#include "generate/grammar_mask.h"

#include <limits>

namespace salient::generate {

void GrammarMask::apply(std::span<float> logits) {
  const std::span<const bool> allowed = grammar_.allowed();
  const bool may_end = !ends_.empty() && ends_.front() < std::ssize(allowed) && allowed[ends_.front()];
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  std::vector<float> end_logits;
  for (const int32_t end : ends_) end_logits.push_back(end < std::ssize(logits) ? logits[end] : kForbidden);
  for (size_t i = 0; i < logits.size(); ++i) {
    if (i >= allowed.size() || !allowed[i]) logits[i] = kForbidden;
  }
  for (size_t i = 0; may_end && i < ends_.size(); ++i) {
    if (ends_[i] < std::ssize(logits)) logits[ends_[i]] = end_logits[i];
  }
}

}  // namespace salient::generate
