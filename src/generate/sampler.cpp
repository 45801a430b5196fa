#include "generate/sampler.h"

#include <algorithm>

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
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  check(options);
}

int32_t most_likely(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

int32_t Sampler::choose(std::span<const float> logits, uint64_t stream, uint64_t position) {
  if (options_.temperature == 0) return most_likely(logits);
  const double random = core::random_uniform(options_.seed, stream, position);
  if (options_.top_k == 0 && options_.top_p == 1) return choose_from_all(logits, random);
  gather_candidates(logits);
  return choose_from_candidates(random);
}

/// Inverts the cumulative distribution in the order of ids: first the block, then the token in it.
int32_t Sampler::choose_from_all(std::span<const float> logits, double random) const {
  constexpr size_t kBlock = 1024;
  const kernels::KernelSet& kernels = kernels::active_kernels();
  const float inverse = 1.0f / options_.temperature;
  std::vector<float> scaled(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) scaled[i] = logits[i] * inverse;
  const float largest = kernels.maximum(scaled.data(), std::ssize(scaled));
  std::vector<double> block_sums;
  double total = 0;
  for (size_t begin = 0; begin < scaled.size(); begin += kBlock) {
    const size_t size = std::min(kBlock, scaled.size() - begin);
    block_sums.push_back(kernels.sum_exp(&scaled[begin], static_cast<int64_t>(size), largest));
    total += block_sums.back();
  }
  double left = random * total;
  size_t block = 0;
  while (block + 1 < block_sums.size() && left >= block_sums[block]) left -= block_sums[block++];
  const size_t end = std::min((block + 1) * kBlock, scaled.size());
  int32_t last_possible = most_likely(logits);
  for (size_t i = block * kBlock; i < end; ++i) {
    const double weight = core::exp(scaled[i] - largest);
    if (weight <= 0) continue;
    last_possible = static_cast<int32_t>(i);
    if (left < weight) break;
    left -= weight;
  }
  return last_possible;
}

/// Fills candidates_ with what top_k and top_p leave, most likely first.
void Sampler::gather_candidates(std::span<const float> logits) {
  const auto more_likely = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const float inverse = 1.0f / options_.temperature;
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates_.push_back({static_cast<int32_t>(i), logits[i] * inverse});
  }
  if (options_.top_k > 0 && options_.top_k < std::ssize(candidates_)) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(), more_likely);
    candidates_.resize(options_.top_k);
  }
  if (options_.top_p < 1) {
    const float largest = std::max_element(candidates_.begin(), candidates_.end(), [](auto& a, auto& b) {
                            return a.logit < b.logit;
                          })->logit;
    double total = 0;
    for (const Candidate& candidate : candidates_) total += core::exp(candidate.logit - largest);
    // All tokens below this share of what top_p may leave out fit in it together: none of them can be kept.
    const double least = total * (1 - options_.top_p) / static_cast<double>(candidates_.size());
    std::erase_if(candidates_, [&](const Candidate& c) { return core::exp(c.logit - largest) < least; });
    std::sort(candidates_.begin(), candidates_.end(), more_likely);
    double kept = 0;
    size_t count = 0;
    while (count < candidates_.size() && kept < total * options_.top_p) {
      kept += core::exp(candidates_[count++].logit - largest);
    }
    candidates_.resize(std::max<size_t>(count, 1));
  } else {
    std::sort(candidates_.begin(), candidates_.end(), more_likely);
  }
}

int32_t Sampler::choose_from_candidates(double random) const {
  const float largest = candidates_.front().logit;
  double total = 0;
  for (const Candidate& candidate : candidates_) total += core::exp(candidate.logit - largest);
  double left = random * total;
  for (const Candidate& candidate : candidates_) {
    const double weight = core::exp(candidate.logit - largest);
    if (left < weight) return candidate.id;
    left -= weight;
  }
  return candidates_.front().id;
}

}  // namespace salient::generate
