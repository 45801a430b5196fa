#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace salient::generate {

/// A token and the natural logarithm of its probability.
struct TokenLogProbability {
  int32_t id;
  float log_probability;
};

/// Of one row of logits as the model gave them, before temperature, filters and penalties.
struct LogProbabilities {
  TokenLogProbability chosen{};
  std::vector<TokenLogProbability> top;  ///< most likely first, the lowest id among equals
};

/// Of the token that was chosen and of the `top` most likely.
LogProbabilities log_probabilities(std::span<const float> logits, int32_t chosen, int64_t top);

}  // namespace salient::generate
