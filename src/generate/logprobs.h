#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace salient::generate {

struct TokenLogprob {
  int32_t id;
  float logprob;  ///< natural logarithm of the probability that the model itself gives: temperature 1, nothing cut off
};

/// A token that was written or read, and what the model found most likely in its place.
struct TokenLogprobs {
  TokenLogprob token;
  std::vector<TokenLogprob> top;  ///< the most likely first; the lowest id of equals
};

/// `logits` is one row of vocab_size.
TokenLogprobs logprobs_of(std::span<const float> logits, int32_t id, int64_t top);

}  // namespace salient::generate
