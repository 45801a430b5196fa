#include "runner/cpu_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

namespace salient::runner {
namespace {

constexpr int64_t kHeadDim = 16;
constexpr int64_t kKvHeads = 2;
/// Of a sequence: its keys are in three parts, the last of which ends inside a page.
constexpr int64_t kTokens = 2 * kernels::kPartKeys + 200;

model::DecoderSpec make_spec(int64_t group) {
  model::DecoderSpec spec;
  spec.heads = kKvHeads * group;
  spec.kv_heads = kKvHeads;
  spec.head_dim = kHeadDim;
  spec.attention_scale = 0.5f;
  return spec;
}

std::vector<float> random_numbers(int64_t count) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& number : numbers) number = normal(generator);
  return numbers;
}

/// The keys and values of all tokens, and queries of as many.
struct Text {
  explicit Text(const model::DecoderSpec& spec)
      : keys(random_numbers(kTokens * spec.kv_size())), queries(random_numbers(kTokens * spec.query_size())) {
    for (int64_t position = 0; position < kTokens; ++position) {
      if (position % kernels::kPageKeys == 0) pages.push_back(cache.page(cache.allocate()));
      const float* key = &keys[position * spec.kv_size()];
      cache.store(pages.back(), 0, position % kernels::kPageKeys, key, value_of(key));
    }
  }
  /// Values are the keys of the other head.
  const float* value_of(const float* key) {
    std::rotate_copy(key, key + kHeadDim, key + kKvHeads * kHeadDim, swapped);
    return swapped;
  }

  CpuKvCache cache{1, kKvHeads, kHeadDim, core::DType::kF32};
  std::vector<std::byte*> pages;
  std::vector<float> keys;
  std::vector<float> queries;
  float swapped[kKvHeads * kHeadDim];
};

/// What the last `tokens` tokens attend to, on so many threads.
std::vector<float> attend(const model::DecoderSpec& spec, const Text& text, int64_t window, int64_t tokens,
                          int threads) {
  core::ThreadPool pool(threads);
  AttentionStage stage(spec, pool);
  const BatchSlice slice{0, tokens, kTokens - tokens, false, text.pages};
  std::vector<float> attended(static_cast<size_t>(tokens * spec.query_size()));
  stage.run({.rope = -1, .window = window}, text.cache, 0, std::span(&slice, 1),
            &text.queries[(kTokens - tokens) * spec.query_size()], attended.data());
  return attended;
}

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

/// One head of one token by definition, in fp64.
std::vector<double> attend_plainly(const model::DecoderSpec& spec, const Text& text, int64_t window, int64_t position,
                                   int64_t head) {
  const int64_t kv_head = head / (spec.heads / spec.kv_heads);
  const float* query = &text.queries[position * spec.query_size() + head * kHeadDim];
  std::vector<double> sums(kHeadDim);
  double weights = 0;
  for (int64_t seen = window > 0 ? std::max<int64_t>(position + 1 - window, 0) : 0; seen <= position; ++seen) {
    const float* key = &text.keys[seen * spec.kv_size() + kv_head * kHeadDim];
    const float* value = &text.keys[seen * spec.kv_size() + (1 - kv_head) * kHeadDim];
    double score = 0;
    for (int64_t d = 0; d < kHeadDim; ++d) score += spec.attention_scale * double{query[d]} * key[d];
    weights += std::exp(score);
    for (int64_t d = 0; d < kHeadDim; ++d) sums[d] += std::exp(score) * value[d];
  }
  for (double& sum : sums) sum /= weights;
  return sums;
}

class CpuAttention : public testing::TestWithParam<int64_t> {};

TEST_P(CpuAttention, OfALongContextIsTheSameBitsForAnyThreadsAndAnyNumberOfTokens) {
  for (const int64_t group : {1, 3, 40}) {
    const model::DecoderSpec spec = make_spec(group);
    const Text text(spec);
    const auto all = attend(spec, text, GetParam(), kTokens, 1);
    for (const int64_t tokens : {int64_t{1}, int64_t{2}, int64_t{9}, int64_t{100}, kTokens}) {
      for (const int threads : {1, 2, 5}) {
        const auto last = attend(spec, text, GetParam(), tokens, threads);
        EXPECT_TRUE(std::equal(last.begin(), last.end(), all.end() - std::ssize(last), same_bits))
            << tokens << " tokens, " << threads << " threads, " << group << " heads share a key";
      }
    }
  }
}

TEST_P(CpuAttention, OfALongContextIsSoftmaxAttention) {
  const model::DecoderSpec spec = make_spec(3);
  const Text text(spec);
  constexpr int64_t kLast = 9;
  const auto attended = attend(spec, text, GetParam(), kLast, 2);
  for (int64_t token = 0; token < kLast; ++token) {
    for (int64_t head = 0; head < spec.heads; ++head) {
      const auto expected = attend_plainly(spec, text, GetParam(), kTokens - kLast + token, head);
      for (int64_t d = 0; d < kHeadDim; ++d) {
        EXPECT_NEAR(attended[token * spec.query_size() + head * kHeadDim + d], expected[d], 1e-5);
      }
    }
  }
}

/// Windows: none; shorter than a part; one whose first key lies in the part before that of a block's first query.
INSTANTIATE_TEST_SUITE_P(Windows, CpuAttention, testing::Values(0, 70, 530),
                         [](const auto& test) { return std::to_string(test.param); });

}  // namespace
}  // namespace salient::runner
