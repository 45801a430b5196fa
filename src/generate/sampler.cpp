#include "generate/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
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

namespace {

/// Logits looked at together: few blocks have one that is of interest.
constexpr size_t kLogitBlock = 64;

/// The largest of some logits, in lanes that compilers make vectors of; what is no number is passed over.
float largest_of(std::span<const float> logits) {
  constexpr size_t kLanes = 16;
  std::array<float, kLanes> largest;
  largest.fill(-std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      largest[lane] = logits[i + lane] > largest[lane] ? logits[i + lane] : largest[lane];
    }
  }
  for (; i < logits.size(); ++i) largest[0] = logits[i] > largest[0] ? logits[i] : largest[0];
  return *std::max_element(largest.begin(), largest.end());
}

}  // namespace

int32_t most_likely(std::span<const float> logits) {
  const auto found = std::find(logits.begin(), logits.end(), largest_of(logits));
  return found == logits.end() ? 0 : static_cast<int32_t>(found - logits.begin());
}

namespace {

void check_largest(float logit, uint64_t position) {
  if (std::isfinite(logit)) return;
  core::fail(core::ErrorKind::kInvalidInput,
             "the largest logit of position {} is {}, expected a finite number: the model's weights are damaged",
             position, logit);
}

}  // namespace

int32_t Sampler::choose(std::span<const float> logits, uint64_t stream, uint64_t position) {
  const int32_t best = most_likely(logits);
  check_largest(logits[best], position);
  if (options_.temperature == 0) return best;
  const double random = core::random_uniform(options_.seed, stream, position);
  if (options_.top_k == 0 && options_.top_p == 1 && options_.min_p == 0) return choose_from_all(logits, best, random);
  candidates_.clear();
  if (top_needed(std::ssize(logits)) > 0) {
    gather_top_k(logits);
    filter_candidates(weigh_top_k());
  } else {
    filter_candidates(gather_likely(logits, logits[best]));
  }
  return choose_from_candidates(random);
}

int64_t Sampler::top_needed(int64_t vocab_size) const {
  if (options_.temperature == 0) return 1;
  return options_.top_k < vocab_size ? options_.top_k : 0;
}

int32_t Sampler::choose(std::span<const runner::TokenLogit> top, uint64_t stream, uint64_t position) {
  check_largest(top.empty() ? std::numeric_limits<float>::quiet_NaN() : top.front().logit, position);
  if (options_.temperature == 0) return top.front().id;
  const auto count = std::min(top.size(), static_cast<size_t>(options_.top_k));
  candidates_.clear();
  for (const auto& [id, logit] : top.first(count)) candidates_.push_back({id, logit});
  filter_candidates(weigh_top_k());
  return choose_from_candidates(core::random_uniform(options_.seed, stream, position));
}

/// The power of e that a token's probability is proportional to, at most 0. Dividing the difference stays finite or
/// minus infinity at any temperature.
float Sampler::exponent(float logit, float largest) const {
  const float difference = (logit - largest) / options_.temperature;
  return std::isnan(difference) ? -std::numeric_limits<float>::infinity() : difference;
}

/// Fills exponents_ of all tokens; returns the sums of their powers by block.
std::vector<double> Sampler::sum_blocks(std::span<const float> logits, float largest) {
  exponents_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) exponents_[i] = exponent(logits[i], largest);
  std::vector<double> sums;
  for (size_t begin = 0; begin < exponents_.size(); begin += kSumBlock) {
    const size_t size = std::min(kSumBlock, exponents_.size() - begin);
    sums.push_back(kernels::active_kernels().sum_exp(&exponents_[begin], static_cast<int64_t>(size), 0.0f));
  }
  return sums;
}

/// Inverts the cumulative distribution in the order of ids: first the block, then the token in it.
int32_t Sampler::choose_from_all(std::span<const float> logits, int32_t best, double random) {
  const std::vector<double> block_sums = sum_blocks(logits, logits[best]);
  double left = random * std::accumulate(block_sums.begin(), block_sums.end(), 0.0);
  size_t block = 0;
  while (block + 1 < block_sums.size() && left >= block_sums[block]) left -= block_sums[block++];
  const size_t end = std::min((block + 1) * kSumBlock, exponents_.size());
  int32_t last_possible = best;
  for (size_t i = block * kSumBlock; i < end; ++i) {
    const double weight = core::exp(exponents_[i]);
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

/// Fills candidates_ with the top_k largest logits in order, the lowest ids among equals. A heap with the least likely
/// of those kept at its root: few of a vocabulary are more likely than it once it is full.
void Sampler::gather_top_k(std::span<const float> logits) {
  const auto count = static_cast<size_t>(options_.top_k);
  for (size_t begin = 0; begin < logits.size(); begin += kLogitBlock) {
    const size_t end = std::min(begin + kLogitBlock, logits.size());
    const bool full = candidates_.size() == count;
    // An equal one that comes later has the higher id. What is no number compares as false.
    if (full && !(largest_of(logits.subspan(begin, end - begin)) > candidates_.front().exponent)) continue;
    for (size_t i = begin; i < end; ++i) {
      if (std::isnan(logits[i])) continue;
      if (candidates_.size() == count) {
        if (!(logits[i] > candidates_.front().exponent)) continue;
        std::pop_heap(candidates_.begin(), candidates_.end(), more_likely);
        candidates_.pop_back();
      }
      candidates_.push_back({static_cast<int32_t>(i), logits[i]});
      std::push_heap(candidates_.begin(), candidates_.end(), more_likely);
    }
  }
  std::sort_heap(candidates_.begin(), candidates_.end(), more_likely);
}

/// Makes exponents of the logits of the top_k; returns the sum of their powers of e.
double Sampler::weigh_top_k() {
  const float largest = candidates_.front().exponent;
  double total = 0;
  for (Candidate& candidate : candidates_) {
    candidate.exponent = exponent(candidate.exponent, largest);
    total += core::exp(candidate.exponent);
  }
  return total;
}

/// Fills candidates_ with all tokens that top_p may keep, and returns the sum over all of the powers of e.
double Sampler::gather_likely(std::span<const float> logits, float largest) {
  const std::vector<double> sums = sum_blocks(logits, largest);
  const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  // All tokens below this share of what top_p may leave out fit in it together: none of them can be kept.
  const double least = total * (1 - options_.top_p) / static_cast<double>(logits.size());
  // Half of it, so that no rounding of the logarithm matters.
  const float least_exponent =
      options_.top_p < 1 ? static_cast<float>(core::log(least / 2)) : -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < exponents_.size(); ++i) {
    if (exponents_[i] >= least_exponent) candidates_.push_back({static_cast<int32_t>(i), exponents_[i]});
  }
  return total;
}

/// Leaves of candidates_, whose powers of e are `total` together, what top_p and min_p leave, most likely first.
void Sampler::filter_candidates(double total) {
  // What min_p leaves out is the least likely, so it may go before the tokens are ordered and top_p counts its share.
  // The most likely has the exponent 0: the share of another is the power of e itself.
  if (options_.min_p > 0) {
    std::erase_if(candidates_, [&](const Candidate& c) { return core::exp(c.exponent) < options_.min_p; });
  }
  std::sort(candidates_.begin(), candidates_.end(), more_likely);
  if (options_.top_p < 1) keep_top_p(total);
}

/// Keeps the first of the ordered candidates whose share of `total` reaches top_p together.
void Sampler::keep_top_p(double total) {
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
