#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/math.h"
#include "core/random.h"
#include "kernels/kernels.h"

namespace salient::generate {

void check(const SamplingOptions& options) {
  using core::ErrorKind;
  if (!(options.temperature >= 0) || options.temperature > 100) {
    core::fail(ErrorKind::kInvalidInput, "temperature is {}, expected 0 to 100", options.temperature);
  }
  if (options.top_k < 0) core::fail(ErrorKind::kInvalidInput, "top-k is {}, expected 0 or more", options.top_k);
  if (!(options.top_p > 0) || options.top_p > 1) {
    core::fail(ErrorKind::kInvalidInput, "top-p is {}, expected above 0 and at most 1", options.top_p);
  }
  if (!(options.min_p >= 0) || options.min_p > 1) {
    core::fail(ErrorKind::kInvalidInput, "min-p is {}, expected 0 to 1", options.min_p);
  }
  if (!(options.repetition_penalty > 0) || options.repetition_penalty > 100) {
    core::fail(ErrorKind::kInvalidInput, "repetition-penalty is {}, expected above 0 and at most 100",
               options.repetition_penalty);
  }
  for (const auto& [name, penalty] : {std::pair("presence-penalty", options.presence_penalty),
                                      std::pair("frequency-penalty", options.frequency_penalty)}) {
    if (!(std::abs(penalty) <= 100)) {
      core::fail(ErrorKind::kInvalidInput, "{} is {}, expected -100 to 100", name, penalty);
    }
  }
  if (options.no_repeat_ngram_size < 0) {
    core::fail(ErrorKind::kInvalidInput, "no-repeat-ngram-size is {}, expected 0 or more",
               options.no_repeat_ngram_size);
  }
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  check(options);
}

int32_t most_likely(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best] || (std::isnan(logits[best]) && !std::isnan(logits[i]))) best = i;
  }
  return static_cast<int32_t>(best);
}

int32_t Sampler::choose(std::span<const float> logits, uint64_t stream, uint64_t position) {
  const int32_t best = most_likely(logits);
  const float largest = logits[best];
  if (!std::isfinite(largest)) {
    core::fail(core::ErrorKind::kInvalidInput,
               "the largest logit of position {} is {}, expected a finite number: the model's weights are damaged",
               position, largest);
  }
  if (options_.temperature == 0) return best;
  const double random = core::random_uniform(options_.seed, stream, position);
  if (options_.top_k == 0 && options_.top_p == 1 && options_.min_p == 0) return choose_from_all(logits, best, random);
  gather_candidates(logits, largest);
  return choose_from_candidates(random);
}

/// The power of e that a token's probability is proportional to, at most 0. Dividing the difference stays finite or
/// minus infinity at any temperature.
float Sampler::exponent(float logit, float largest) const {
  const float difference = (logit - largest) / options_.temperature;
  return std::isnan(difference) ? -std::numeric_limits<float>::infinity() : difference;
}

/// Inverts the cumulative distribution in the order of ids: first the block, then the token in it.
int32_t Sampler::choose_from_all(std::span<const float> logits, int32_t best, double random) const {
  constexpr size_t kBlock = 1024;
  const kernels::KernelSet& kernels = kernels::active_kernels();
  std::vector<float> exponents(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) exponents[i] = exponent(logits[i], logits[best]);
  std::vector<double> block_sums;
  double total = 0;
  for (size_t begin = 0; begin < exponents.size(); begin += kBlock) {
    const size_t size = std::min(kBlock, exponents.size() - begin);
    block_sums.push_back(kernels.sum_exp(&exponents[begin], static_cast<int64_t>(size), 0.0f));
    total += block_sums.back();
  }
  double left = random * total;
  size_t block = 0;
  while (block + 1 < block_sums.size() && left >= block_sums[block]) left -= block_sums[block++];
  const size_t end = std::min((block + 1) * kBlock, exponents.size());
  int32_t last_possible = best;
  for (size_t i = block * kBlock; i < end; ++i) {
    const double weight = core::exp(exponents[i]);
    if (weight <= 0) continue;
    last_possible = static_cast<int32_t>(i);
    if (left < weight) break;
    left -= weight;
  }
  return last_possible;
}

bool Sampler::more_likely(const Candidate& a, const Candidate& b) {
  return a.exponent != b.exponent ? a.exponent > b.exponent : a.id < b.id;
}

/// Fills candidates_ with what top_k, top_p and min_p leave, most likely first.
void Sampler::gather_candidates(std::span<const float> logits, float largest) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_.push_back({static_cast<int32_t>(i), exponent(logits[i], largest)});
  }
  if (options_.top_k > 0 && options_.top_k < std::ssize(candidates_)) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(), more_likely);
    candidates_.resize(options_.top_k);
  }
  if (options_.top_p < 1) keep_top_p();
  // The most likely has the exponent 0: the share of another is the power of e itself.
  if (options_.min_p > 0) {
    std::erase_if(candidates_, [&](const Candidate& c) { return core::exp(c.exponent) < options_.min_p; });
  }
  std::sort(candidates_.begin(), candidates_.end(), more_likely);
}

void Sampler::keep_top_p() {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += core::exp(candidate.exponent);
  // All tokens below this share of what top_p may leave out fit in it together: none of them can be kept.
  const double least = total * (1 - options_.top_p) / static_cast<double>(candidates_.size());
  std::erase_if(candidates_, [&](const Candidate& c) { return core::exp(c.exponent) < least; });
  std::sort(candidates_.begin(), candidates_.end(), more_likely);
  double kept = 0;
  size_t count = 0;
  while (count < candidates_.size() && kept < total * options_.top_p) {
    kept += core::exp(candidates_[count++].exponent);
  }
  candidates_.resize(std::max<size_t>(count, 1));
}

int32_t Sampler::choose_from_candidates(double random) const {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += core::exp(candidate.exponent);
  double left = random * total;
  for (const Candidate& candidate : candidates_) {
    const double weight = core::exp(candidate.exponent);
    if (left < weight) return candidate.id;
    left -= weight;
  }
  return candidates_.front().id;
}

}  // namespace salient::generate
