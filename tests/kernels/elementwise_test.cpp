#include <cmath>
#include <limits>
#include <numbers>

#include "core/math.h"
#include "kernels/log_sum_exp.h"
#include "tests/kernels/kernel_sets.h"

namespace salient::kernels {
namespace {

using ElementwiseKernels = AgainstScalar;
INSTANTIATE_TEST_SUITE_P(Sets, ElementwiseKernels, vector_sets(), set_name);

constexpr int64_t kSizes[] = {1, 15, 16, 17, 100, 576, 1000};

TEST_P(ElementwiseKernels, RmsNormIsTheSameBits) {
  for (const int64_t size : kSizes) {
    const auto x = random_floats(size, 5.0f);
    const auto weight = random_floats(size);
    std::vector<float> expected(size);
    std::vector<float> actual(size);
    kScalarKernels.rms_norm(x.data(), weight.data(), 1e-5f, size, expected.data());
    set().rms_norm(x.data(), weight.data(), 1e-5f, size, actual.data());
    expect_same_bits(expected, actual);
  }
}

TEST(RmsNormReference, MatchesItsFormula) {
  const std::vector<float> x = {1, -2, 3, -4, 5};
  const std::vector<float> weight = {1, 2, 3, 4, 5};
  std::vector<float> out(5);
  kScalarKernels.rms_norm(x.data(), weight.data(), 1e-5f, 5, out.data());
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(out[i], x[i] / std::sqrt(11.00001) * weight[i], 1e-6);
}

TEST_P(ElementwiseKernels, RotationIsTheSameBits) {
  for (const auto& [head_dim, rotary_dim] : std::vector<std::pair<int64_t, int64_t>>{
           {16, 16}, {32, 32}, {32, 12}, {64, 64}, {80, 32}, {96, 96}, {128, 96}, {128, 128}}) {
    const auto cos = random_floats(rotary_dim / 2);
    const auto sin = random_floats(rotary_dim / 2);
    auto expected = random_floats(3 * head_dim);
    auto actual = expected;
    kScalarKernels.rotate(expected.data(), cos.data(), sin.data(), 3, head_dim, rotary_dim);
    set().rotate(actual.data(), cos.data(), sin.data(), 3, head_dim, rotary_dim);
    expect_same_bits(expected, actual);
  }
}

TEST_P(ElementwiseKernels, LayerNormIsTheSameBitsAndItsFormula) {
  for (const int64_t size : kSizes) {
    const auto x = random_floats(size, 5.0f);
    const auto weight = random_floats(size);
    const auto bias = random_floats(size);
    std::vector<float> expected(size);
    std::vector<float> actual(size);
    kScalarKernels.layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, size, expected.data());
    set().layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, size, actual.data());
    expect_same_bits(expected, actual);
    double mean = 0;
    double variance = 0;
    for (const float value : x) mean += value / static_cast<double>(size);
    for (const float value : x) variance += std::pow(value - mean, 2) / static_cast<double>(size);
    for (int64_t i = 0; i < size; ++i) {
      EXPECT_NEAR(expected[i], (x[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i], 2e-5);
    }
  }
}

/// One function of a single number, against the reference's bits and its formula.
template <typename Apply, typename Formula>
void expect_function(const KernelSet& set, const std::vector<float>& x, double tolerance, Apply apply,
                     Formula formula) {
  std::vector<float> expected = x;
  std::vector<float> actual = x;
  apply(kScalarKernels, expected);
  apply(set, actual);
  expect_same_bits(expected, actual);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(expected[i], formula(double{x[i]}), tolerance * (1 + std::abs(x[i]))) << x[i];
  }
}

TEST_P(ElementwiseKernels, ActivationsAreTheSameBitsAndSafeFarOut) {
  for (const int64_t size : kSizes) {
    auto x = random_floats(size, 4.0f);
    x[0] = size % 2 ? -1e4f : 1e4f;
    expect_function(
        set(), x, 2e-6, [](const KernelSet& kernels, auto& y) { kernels.silu(y.data(), std::ssize(y)); },
        [](double v) { return v / (1 + std::exp(-v)); });
    expect_function(
        set(), x, 2e-6, [](const KernelSet& kernels, auto& y) { kernels.gelu(y.data(), std::ssize(y)); },
        [](double v) { return v / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v))); });
  }
}

TEST_P(ElementwiseKernels, SoftCapIsTheSameBitsAndItsFormula) {
  for (const int64_t size : kSizes) {
    auto x = random_floats(size, 40.0f);
    x[0] = size % 2 ? -1e4f : 1e4f;
    expect_function(
        set(), x, 2e-5, [](const KernelSet& kernels, auto& y) { kernels.soft_cap(y.data(), std::ssize(y), 30.0f); },
        [](double v) { return 30 * std::tanh(v / 30); });
  }
}

TEST_P(ElementwiseKernels, ProductsAreTheSameBits) {
  const auto y = random_floats(100);
  const auto x = random_floats(100);
  auto actual = x;
  set().multiply(y.data(), 99, actual.data());
  for (int i = 0; i < 99; ++i) EXPECT_EQ(actual[i], x[i] * y[i]);
  EXPECT_EQ(actual[99], x[99]);
}

TEST_P(ElementwiseKernels, HalvesAreTheSameBitsAndFinite) {
  std::vector<float> x = random_floats(1000, 100.0f);
  x[0] = 1e9f;
  x[1] = -1e9f;
  x[2] = std::numeric_limits<float>::infinity();
  x[3] = 65519.0f;
  x[4] = 1e-7f;
  std::vector<uint16_t> expected(x.size());
  std::vector<uint16_t> actual(x.size());
  kScalarKernels.to_half(x.data(), std::ssize(x) - 3, expected.data());
  set().to_half(x.data(), std::ssize(x) - 3, actual.data());
  EXPECT_EQ(expected, actual);
  EXPECT_EQ(core::half_to_float(actual[0]), 65504.0f);
  EXPECT_EQ(core::half_to_float(actual[2]), 65504.0f);
}

TEST_P(ElementwiseKernels, SumsAreTheSameBits) {
  const auto y = random_floats(100);
  auto expected = random_floats(100);
  auto actual = expected;
  kScalarKernels.add(y.data(), 99, expected.data());
  set().add(y.data(), 99, actual.data());
  expect_same_bits(expected, actual);
}

TEST_P(ElementwiseKernels, ReductionsAreTheSameBits) {
  for (const int64_t size : kSizes) {
    const auto p = random_floats(size, 8.0f);
    const auto q = random_floats(size, 8.0f);
    const float p_max = kScalarKernels.maximum(p.data(), size);
    const float q_max = kScalarKernels.maximum(q.data(), size);
    EXPECT_EQ(p_max, set().maximum(p.data(), size));
    EXPECT_EQ(p_max, *std::max_element(p.begin(), p.end()));
    const float p_sum = kScalarKernels.sum_exp(p.data(), size, p_max);
    const float q_sum = kScalarKernels.sum_exp(q.data(), size, q_max);
    expect_same_bits({p_sum, q_sum}, {set().sum_exp(p.data(), size, p_max), set().sum_exp(q.data(), size, q_max)});
    const float p_log = p_max + std::log(p_sum);
    const float q_log = q_max + std::log(q_sum);
    const float expected = kScalarKernels.divergence(p.data(), p_log, q.data(), q_log, size);
    expect_same_bits({expected}, {set().divergence(p.data(), p_log, q.data(), q_log, size)});
    EXPECT_GE(expected, -1e-5f);
    EXPECT_NEAR(kScalarKernels.divergence(p.data(), p_log, p.data(), p_log, size), 0.0f, 1e-6f);
  }
}

TEST(LogSumExp, IsThatOfTheNumbersWhateverTheirSize) {
  for (const float shift : {0.0f, 500.0f, -500.0f}) {
    std::vector<float> x;
    double sum = 0;
    for (int i = 0; i < 1000; ++i) {
      const float value = static_cast<float>(i * 37 % 161 - 80) / 10;
      sum += std::exp(static_cast<double>(value));
      x.push_back(value + shift);
    }
    EXPECT_NEAR(log_sum_exp(x.data(), std::ssize(x)), shift + std::log(sum), 1e-4) << shift;
  }
}

TEST_P(ElementwiseKernels, ExponentialIsCoreMathsExponential) {
  for (float x = -100.0f; x < 100.0f; x += 0.0371f) {
    const float sum = set().sum_exp(&x, 1, 0.0f);
    ASSERT_EQ(std::bit_cast<uint32_t>(sum), std::bit_cast<uint32_t>(core::exp(x))) << x;
  }
  const float nothing = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(set().sum_exp(&nothing, 1, 0.0f), 0.0f);
}

TEST_P(ElementwiseKernels, SumOfWordsCountsEachOnceModulo2To32) {
  for (const int64_t count : {64, 128, 640, 4096}) {
    std::vector<uint32_t> words(count);
    uint64_t expected = 0;
    for (uint32_t& word : words) {
      word = static_cast<uint32_t>(random_int(0, INT32_MAX)) * 2 + 1;
      expected += word;
    }
    EXPECT_EQ(kScalarKernels.sum_words(words.data(), count), static_cast<uint32_t>(expected));
    EXPECT_EQ(set().sum_words(words.data(), count), static_cast<uint32_t>(expected));
  }
}

}  // namespace
}  // namespace salient::kernels
