#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runner/runner.h"

namespace salient::generate {

/// How the next token is chosen from the logits: what changes them (see `change_logits`), then temperature, top_k,
/// top_p and min_p, in this order and each on what the one before leaves, as transformers has them.
struct SamplingOptions {
  float temperature = 0.7f;          ///< 0: always the most likely token
  int64_t top_k = 40;                ///< keep the k most likely; 0: all
  float top_p = 0.95f;               ///< keep the most likely until their probabilities reach this; 1: all
  float min_p = 0;                   ///< keep those at least this share as likely as the most likely; 0: all
  float repetition_penalty = 1;      ///< above 1: what stands in the text, prompt included, is less likely
  float presence_penalty = 0;        ///< taken off a logit once the reply has the token
  float frequency_penalty = 0;       ///< taken off a logit for each time that the reply has the token
  int64_t no_repeat_ngram_size = 0;  ///< no n tokens stand twice in the text; 0: they may
  uint64_t seed = 0;
};

/// Throws invalid_input naming the option that is out of range.
void check(const SamplingOptions& options);

/// Chooses tokens. A choice depends only on the logits, the options, and the (stream, position) it is for, never on
/// what was chosen before, so a batch of sequences or a rewound one gives the same text.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  /// `logits` is one row of vocab_size; `stream` tells the sequences of a batch apart. A logit that is not a number is
  /// never chosen. Throws invalid_input when no logit is finite or one is infinite: the model's weights are damaged.
  int32_t choose(std::span<const float> logits, uint64_t stream, uint64_t position);

  /// How many of the largest logits decide the choice from a row of `vocab_size`; 0: all do.
  int64_t top_needed(int64_t vocab_size) const;
  /// The same choice, from no fewer than these; `top` is a row of Runner::top_logits.
  int32_t choose(std::span<const runner::TokenLogit> top, uint64_t stream, uint64_t position);

 private:
  struct Candidate {
    int32_t id;
    float exponent;  ///< of e, what its probability is proportional to; of the top_k at first its logit
  };
  static bool more_likely(const Candidate& a, const Candidate& b);
  float exponent(float logit, float largest) const;
  std::vector<double> sum_blocks(std::span<const float> logits, float largest);
  int32_t choose_from_all(std::span<const float> logits, int32_t best, double random);
  int32_t choose_from_candidates(double random) const;
  void gather_top_k(std::span<const float> logits);
  double gather_likely(std::span<const float> logits, float largest);
  double weigh_top_k();
  void filter_candidates(double total);
  void keep_top_p(double total);

  static constexpr size_t kSumBlock = 1024;

  SamplingOptions options_;
  std::vector<float> exponents_;       ///< of all tokens, where all are looked at
  std::vector<Candidate> candidates_;  ///< most likely first
};

/// The most likely token; the lowest id among equals, and 0 when none is a number.
int32_t most_likely(std::span<const float> logits);

}  // namespace salient::generate
