#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "generate/logit_changes.h"
#include "generate/sampler.h"
#include "generate/token_mask.h"
#include "runner/runner.h"

namespace salient::generate {

/// What decides which token comes next, besides the logits.
struct ChoiceRules {
  SamplingOptions sampling;
  LogitBias logit_bias = {};
  std::vector<int32_t> ends = {};  ///< tokens that end the reply
  int64_t min_length = 0;          ///< none of them is chosen before prompt and reply together have this many tokens
  uint64_t stream = 0;             ///< see Sampler::choose
  std::shared_ptr<TokenMask> mask = {};  ///< null: anything may follow
};

/// Chooses the tokens of one text, the same for a text that is written alone and for one of many.
class TokenChooser {
 public:
  /// Throws invalid_input naming the rule that is out of range.
  explicit TokenChooser(ChoiceRules rules);

  /// `row` are the logits for the token behind `text`. Throws invalid_input as Sampler::choose does, and when the rules
  /// forbid every token.
  int32_t choose(std::span<const float> row, const TextSoFar& text);

  /// How many of the largest logits decide which token comes next, where `runner` can find them; 0: all are needed.
  int64_t top_needed(const runner::Runner& runner) const;
  /// The same choice, from no fewer than these; `top` is a row of Runner::top_logits.
  int32_t choose(std::span<const runner::TokenLogit> top, const TextSoFar& text);

  bool ends_reply(int32_t id) const;
  const std::vector<int32_t>& ends() const { return rules_.ends; }

 private:
  std::span<const float> allowed_logits(std::span<const float> row, const TextSoFar& text);

  ChoiceRules rules_;
  Sampler sampler_;
  std::vector<float> scratch_;
};

}  // namespace salient::generate
