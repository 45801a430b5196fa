#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "generate/sampler.h"

namespace salient::generate {

/// What the next token follows.
struct TextSoFar {
  std::span<const int32_t> tokens;  ///< prompt and reply
  int64_t prompt_tokens = 0;        ///< how many of them are the prompt
};

/// What is added to the logits of tokens; minus infinity forbids one.
using LogitBias = std::map<int32_t, float>;

/// Throws invalid_input when a bias is not a number, or infinite.
void check(const LogitBias& bias);
/// Throws invalid_input when one is of a token that the model does not have.
void check_tokens(const LogitBias& bias, int64_t vocab_size);

/// Whether `change_logits` would change anything.
bool changes_logits(const SamplingOptions& options, const LogitBias& bias);

/// Changes one row of logits as the options say, in this order: the repetition penalty once for each token of the text
/// (Keskar et al., "CTRL", 2019: a positive logit is divided by it, a negative one multiplied), frequency and presence
/// penalties by the counts in the reply alone (as OpenAI's API defines them), minus infinity for a token that would
/// complete an n-gram of the text, then the bias.
void change_logits(const SamplingOptions& options, const LogitBias& bias, const TextSoFar& text,
                   std::span<float> logits);

}  // namespace salient::generate
