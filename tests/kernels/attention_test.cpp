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

std::vector<AttentionRow> make_rows(const std::vector<float>& queries, std::vector<float>& outputs, int64_t head_dim) {
  std::vector<AttentionRow> rows;
  for (size_t i = 0; i < kRanges.size(); ++i) {
    rows.push_back({&queries[i * head_dim], &outputs[i * head_dim], kRanges[i].first, kRanges[i].end});
  }
  return rows;
}

TEST_P(AttentionKernels, AreTheSameBitsHoweverRowsAreBatched) {
  for (const int64_t head_dim : {16, 32, 64, 80, 96, 128, 256}) {
    const Cache cache(random_halves(3 * 2 * kPageKeys * head_dim), head_dim);
    const auto queries = random_floats(kRanges.size() * head_dim);
    std::vector<float> expected(queries.size());
    std::vector<float> together(queries.size());
    std::vector<float> alone(queries.size());
    const auto expected_rows = make_rows(queries, expected, head_dim);
    kScalarKernels.attend_f16(expected_rows.data(), std::ssize(kRanges), cache.half_view(), head_dim, 0.125f, 0.0f);
    const auto together_rows = make_rows(queries, together, head_dim);
    set().attend_f16(together_rows.data(), std::ssize(kRanges), cache.half_view(), head_dim, 0.125f, 0.0f);
    expect_same_bits(expected, together);
    for (const AttentionRow& row : make_rows(queries, alone, head_dim)) {
      set().attend_f16(&row, 1, cache.half_view(), head_dim, 0.125f, 0.0f);
    }
    expect_same_bits(expected, alone);
    // The numbers are the same, so the results are.
    kScalarKernels.attend_f32(together_rows.data(), std::ssize(kRanges), cache.float_view(), head_dim, 0.125f, 0.0f);
    expect_same_bits(expected, together);
    set().attend_f32(together_rows.data(), std::ssize(kRanges), cache.float_view(), head_dim, 0.125f, 0.0f);
    expect_same_bits(expected, together);
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
      std::vector<float> expected(queries.size());
      std::vector<float> together(queries.size());
      std::vector<float> alone(queries.size());
      const auto expected_rows = make_rows(queries, expected, head_dim);
      kScalarKernels.attend_i8(expected_rows.data(), std::ssize(kRanges), cache.view(), head_dim, 0.125f, cap);
      const auto together_rows = make_rows(queries, together, head_dim);
      set().attend_i8(together_rows.data(), std::ssize(kRanges), cache.view(), head_dim, 0.125f, cap);
      expect_same_bits(expected, together);
      for (const AttentionRow& row : make_rows(queries, alone, head_dim)) {
        set().attend_i8(&row, 1, cache.view(), head_dim, 0.125f, cap);
      }
      expect_same_bits(expected, alone);
    }
  }
}

/// What a row's output is by definition, in fp64.
template <typename AnyCache>
std::vector<double> attend_plainly(const AttentionRow& row, const AnyCache& cache, double scale, double cap) {
  std::vector<double> sum(cache.head_dim);
  double weights = 0;
  for (int64_t key = row.first_key; key < row.end_key; ++key) {
    double score = 0;
    for (int64_t d = 0; d < cache.head_dim; ++d) score += row.query[d] * double{cache.key(key, d)} * scale;
    if (cap > 0) score = cap * std::tanh(score / cap);
    const double weight = std::exp(score);
    weights += weight;
    for (int64_t d = 0; d < cache.head_dim; ++d) sum[d] += weight * cache.value(key, d);
  }
  for (double& number : sum) number /= weights;
  return sum;
}

TEST_P(AttentionKernels, AreSoftmaxAttentionInInt8) {
  const int64_t head_dim = 32;
  const Int8Cache cache(head_dim, random_floats(6 * kPageKeys), [&] { return random_int(-127, 127); });
  const auto queries = random_floats(kRanges.size() * head_dim);
  std::vector<float> outputs(queries.size());
  for (const float cap : {0.0f, 1.5f}) {
    const auto rows = make_rows(queries, outputs, head_dim);
    set().attend_i8(rows.data(), std::ssize(rows), cache.view(), head_dim, 0.3f, cap);
    for (const AttentionRow& row : rows) {
      const auto expected = attend_plainly(row, cache, 0.3, cap);
      for (int64_t d = 0; d < head_dim; ++d) EXPECT_NEAR(row.output[d], expected[d], 2e-5);
    }
  }
}

TEST_P(AttentionKernels, AreSoftmaxAttention) {
  const int64_t head_dim = 32;
  const Cache cache(random_halves(3 * 2 * kPageKeys * head_dim), head_dim);
  const auto queries = random_floats(kRanges.size() * head_dim);
  for (const float cap : {0.0f, 1.5f}) {
    std::vector<float> outputs(queries.size());
    std::vector<float> reference(queries.size());
    const auto rows = make_rows(queries, outputs, head_dim);
    set().attend_f16(rows.data(), std::ssize(rows), cache.half_view(), head_dim, 0.3f, cap);
    kScalarKernels.attend_f16(make_rows(queries, reference, head_dim).data(), std::ssize(rows), cache.half_view(),
                              head_dim, 0.3f, cap);
    expect_same_bits(reference, outputs);
    for (const AttentionRow& row : rows) {
      const auto expected = attend_plainly(row, cache, 0.3, cap);
      for (int64_t d = 0; d < head_dim; ++d) EXPECT_NEAR(row.output[d], expected[d], 1e-5);
    }
  }
}

}  // namespace
}  // namespace salient::kernels
