#include <cmath>
#include <functional>

#include "tests/kernels/kernel_sets.h"

namespace salient::kernels {
namespace {

using AttentionKernels = AgainstScalar;
INSTANTIATE_TEST_SUITE_P(Sets, AttentionKernels, vector_sets(), set_name);

/// Three pages of one head, keys then values, as fp32 and as the fp16 numbers they hold exactly.
struct Cache {
  Cache(std::vector<uint16_t> all, int64_t dim) : halves(std::move(all)), head_dim(dim) {
    for (const uint16_t half : halves) floats.push_back(core::half_to_float(half));
    for (size_t start = 0; start < halves.size(); start += 2 * kPageKeys * dim) {
      half_pages.push_back(reinterpret_cast<const std::byte*>(&halves[start]));
      float_pages.push_back(reinterpret_cast<const std::byte*>(&floats[start]));
    }
  }
  AttentionCache half_view() const { return {half_pages.data(), 0, kPageKeys * head_dim}; }
  AttentionCache float_view() const { return {float_pages.data(), 0, kPageKeys * head_dim}; }
  float at(int64_t position, int64_t index) const {
    return floats[position / kPageKeys * 2 * kPageKeys * head_dim + index];
  }
  float key(int64_t position, int64_t d) const {
    const int64_t key = position % kPageKeys;
    return at(position, (key / kLanes * head_dim + d) * kLanes + key % kLanes);
  }
  float value(int64_t position, int64_t d) const {
    return at(position, (kPageKeys + position % kPageKeys) * head_dim + d);
  }
  std::vector<uint16_t> halves;
  std::vector<float> floats;
  std::vector<const std::byte*> half_pages;
  std::vector<const std::byte*> float_pages;
  int64_t head_dim;
};

struct Range {
  int64_t first;
  int64_t end;
};

/// A causal prefill, a window that skips whole pages, lone keys at page borders.
const std::vector<Range> kRanges = {{0, 1},  {0, 2},   {0, 63},  {0, 64},    {0, 65},    {0, 130},
                                    {5, 70}, {64, 65}, {63, 64}, {100, 190}, {128, 192}, {0, 192}};

enum class Batching { kTogether, kAlone };

/// Outputs of one query for each range. Contexts are cut into parts of `part_keys`, some of which a range does not
/// touch.
std::vector<float> attend(const KernelSet& set, KernelSet::Attend KernelSet::*kernel, const AttentionCache& cache,
                          const std::vector<float>& queries, float scale, float cap,
                          Batching batching = Batching::kTogether, int64_t part_keys = kPartKeys) {
  const int64_t count = std::ssize(kRanges);
  const int64_t head_dim = std::ssize(queries) / count;
  const int64_t part_count = (3 * kPageKeys + part_keys - 1) / part_keys;
  std::vector<AttentionPart> parts(count * part_count);
  for (int64_t part = 0; part < part_count; ++part) {
    std::vector<AttentionRow> rows;
    for (int64_t i = 0; i < count; ++i) {
      rows.push_back({&queries[i * head_dim], &parts[i * part_count + part],
                      std::max(kRanges[i].first, part * part_keys), std::min(kRanges[i].end, (part + 1) * part_keys)});
    }
    if (batching == Batching::kTogether) {
      (set.*kernel)(rows.data(), count, cache, head_dim, scale, cap);
    } else {
      for (const AttentionRow& row : rows) (set.*kernel)(&row, 1, cache, head_dim, scale, cap);
    }
  }
  std::vector<float> outputs(queries.size());
  for (int64_t i = 0; i < count; ++i) {
    set.merge_parts(&parts[i * part_count], part_count, head_dim, &outputs[i * head_dim]);
  }
  return outputs;
}

TEST_P(AttentionKernels, AreTheSameBitsHoweverRowsAreBatched) {
  for (const int64_t head_dim : {16, 32, 64, 80, 96, 128, 256}) {
    const Cache cache(random_halves(3 * 2 * kPageKeys * head_dim), head_dim);
    const auto queries = random_floats(kRanges.size() * head_dim);
    for (const int64_t part_keys : {int64_t{kPartKeys}, int64_t{kPageKeys}, int64_t{2 * kPageKeys}}) {
      const auto f16 = [&](const KernelSet& kernels, Batching batching) {
        return attend(kernels, &KernelSet::attend_f16, cache.half_view(), queries, 0.125f, 0.0f, batching, part_keys);
      };
      const auto f32 = [&](const KernelSet& kernels) {
        return attend(kernels, &KernelSet::attend_f32, cache.float_view(), queries, 0.125f, 0.0f, Batching::kTogether,
                      part_keys);
      };
      const auto expected = f16(kScalarKernels, Batching::kTogether);
      expect_same_bits(expected, f16(set(), Batching::kTogether));
      expect_same_bits(expected, f16(set(), Batching::kAlone));
      // The numbers are the same, so the results are.
      expect_same_bits(expected, f32(kScalarKernels));
      expect_same_bits(expected, f32(set()));
    }
  }
}

/// Three pages of one head in int8, with the fp32 numbers they stand for.
struct Int8Cache {
  Int8Cache(int64_t dim, std::vector<float> random_scales, const std::function<int()>& next) : head_dim(dim) {
    const int64_t half_page = kPageKeys * (head_dim + 2);
    for (size_t part = 0; part < 6; ++part) {
      for (int64_t i = 0; i < kPageKeys * head_dim; ++i) bytes.push_back(static_cast<std::byte>(next()));
      for (int64_t key = 0; key < kPageKeys; ++key) {
        const uint16_t scale = core::float_to_half(std::fabs(random_scales[part * kPageKeys + key]) / 64);
        bytes.push_back(static_cast<std::byte>(scale & 255));
        bytes.push_back(static_cast<std::byte>(scale >> 8));
      }
    }
    for (int64_t page = 0; page < 3; ++page) pages.push_back(&bytes[page * 2 * half_page]);
  }
  AttentionCache view() const { return {pages.data(), 0, kPageKeys * (head_dim + 2)}; }
  double number(const std::byte* part, int64_t index, int64_t key) const {
    const std::byte* scale = part + kPageKeys * head_dim + key * 2;
    const auto half = static_cast<uint16_t>(static_cast<int>(scale[0]) | static_cast<int>(scale[1]) << 8);
    return static_cast<double>(static_cast<int8_t>(part[index])) * core::half_to_float(half);
  }
  double key(int64_t position, int64_t d) const {
    const int64_t key = position % kPageKeys;
    return number(pages[position / kPageKeys], (key / kLanes * head_dim + d) * kLanes + key % kLanes, key);
  }
  double value(int64_t position, int64_t d) const {
    const int64_t key = position % kPageKeys;
    return number(pages[position / kPageKeys] + view().value_offset, key * head_dim + d, key);
  }
  std::vector<std::byte> bytes;
  std::vector<const std::byte*> pages;
  int64_t head_dim;
};

TEST_P(AttentionKernels, AreTheSameBitsInInt8) {
  for (const int64_t head_dim : {16, 32, 64, 80, 96, 128, 256}) {
    const Int8Cache cache(head_dim, random_floats(6 * kPageKeys), [&] { return random_int(-127, 127); });
    const auto queries = random_floats(kRanges.size() * head_dim);
    for (const float cap : {0.0f, 1.5f}) {
      const auto i8 = [&](const KernelSet& kernels, Batching batching) {
        return attend(kernels, &KernelSet::attend_i8, cache.view(), queries, 0.125f, cap, batching);
      };
      const auto expected = i8(kScalarKernels, Batching::kTogether);
      expect_same_bits(expected, i8(set(), Batching::kTogether));
      expect_same_bits(expected, i8(set(), Batching::kAlone));
    }
  }
}

/// What the output of a range is by definition, in fp64.
template <typename AnyCache>
std::vector<double> attend_plainly(const float* query, const Range& range, const AnyCache& cache, double scale,
                                   double cap) {
  std::vector<double> sum(cache.head_dim);
  double weights = 0;
  for (int64_t key = range.first; key < range.end; ++key) {
    double score = 0;
    for (int64_t d = 0; d < cache.head_dim; ++d) score += query[d] * double{cache.key(key, d)} * scale;
    if (cap > 0) score = cap * std::tanh(score / cap);
    const double weight = std::exp(score);
    weights += weight;
    for (int64_t d = 0; d < cache.head_dim; ++d) sum[d] += weight * cache.value(key, d);
  }
  for (double& number : sum) number /= weights;
  return sum;
}

template <typename AnyCache>
void expect_softmax_attention(const std::vector<float>& outputs, const std::vector<float>& queries,
                              const AnyCache& cache, double cap, double bound) {
  for (size_t i = 0; i < kRanges.size(); ++i) {
    const auto expected = attend_plainly(&queries[i * cache.head_dim], kRanges[i], cache, 0.3, cap);
    for (int64_t d = 0; d < cache.head_dim; ++d) EXPECT_NEAR(outputs[i * cache.head_dim + d], expected[d], bound);
  }
}

TEST_P(AttentionKernels, AreSoftmaxAttention) {
  const int64_t head_dim = 32;
  const Cache cache(random_halves(3 * 2 * kPageKeys * head_dim), head_dim);
  const Int8Cache int8_cache(head_dim, random_floats(6 * kPageKeys), [&] { return random_int(-127, 127); });
  const auto queries = random_floats(kRanges.size() * head_dim);
  for (const float cap : {0.0f, 1.5f}) {
    for (const int64_t part_keys : {int64_t{kPartKeys}, int64_t{kPageKeys}}) {
      const auto halves =
          attend(set(), &KernelSet::attend_f16, cache.half_view(), queries, 0.3f, cap, Batching::kTogether, part_keys);
      expect_softmax_attention(halves, queries, cache, cap, 1e-5);
      const auto int8 =
          attend(set(), &KernelSet::attend_i8, int8_cache.view(), queries, 0.3f, cap, Batching::kTogether, part_keys);
      expect_softmax_attention(int8, queries, int8_cache, cap, 2e-5);
    }
  }
}

}  // namespace
}  // namespace salient::kernels
