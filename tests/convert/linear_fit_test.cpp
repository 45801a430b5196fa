#include "convert/linear_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/dtype.h"
#include "tests/support/expect_error.h"

namespace salient::convert {
namespace {

using core::ErrorKind;
using core::QuantizedTensor;
using tests::expect_error;

constexpr LinearFormat kAwq = {.bits = 4, .group_size = 32, .zeros = ZeroKind::kInteger};
constexpr LinearFormat kQ4_0 = {.bits = 4, .group_size = 32, .zeros = ZeroKind::kMiddle};
constexpr LinearFormat kQ4_1 = {.bits = 4, .group_size = 32, .zeros = ZeroKind::kOffset};
constexpr LinearFormat kQ8_0 = {.bits = 8, .group_size = 32, .zeros = ZeroKind::kMiddle};

/// Random codes with fp16 scales around 1/100 and zero points in the middle.
QuantizedTensor make_weights(int bits, int group_size) {
  std::mt19937 engine(3);
  QuantizedTensor weights;
  weights.out_features = 4;
  weights.in_features = 64;
  weights.bits = bits;
  weights.group_size = group_size;
  std::uniform_int_distribution<int> code(0, (1 << bits) - 1);
  for (int i = 0; i < 4 * 64; ++i) weights.codes.push_back(static_cast<uint8_t>(code(engine)));
  for (int64_t i = 0; i < 4 * weights.groups(); ++i) {
    weights.scales.push_back(0x1p-7f * (1 + static_cast<float>(i) / 64));
    weights.zeros.push_back(static_cast<uint8_t>(1 << (bits - 1)));
  }
  return weights;
}

std::vector<float> values_of(const QuantizedTensor& weights) {
  std::vector<float> values(weights.codes.size());
  weights.dequantize_rows(0, weights.out_features, values.data());
  return values;
}

/// The largest difference from the source's values, in steps of the fitted matrix.
double furthest(const QuantizedTensor& source, const QuantizedTensor& fitted) {
  const auto before = values_of(source);
  const auto after = values_of(fitted);
  double most = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const double scale = fitted.scales[i / static_cast<size_t>(fitted.group_size)];
    most = std::max(most, std::abs((double{after[i]} - before[i]) / scale));
  }
  return most;
}

void expect_unchanged(const QuantizedTensor& weights, const LinearFormat& format) {
  const FittedLinear fitted = fit_linear(weights, format, "a");
  EXPECT_FALSE(fitted.change) << fitted.change->cause;
  EXPECT_EQ(values_of(fitted.weights), values_of(weights));
  EXPECT_EQ(fitted.weights.bits, format.bits);
  EXPECT_EQ(fitted.weights.group_size, format.group_size);
}

/// What changes, and that it is what was reported.
FittedLinear expect_changed(const QuantizedTensor& weights, const LinearFormat& format, const std::string& cause,
                            double most_steps) {
  FittedLinear fitted = fit_linear(weights, format, "mlp.up_proj");
  if (!fitted.change) {
    ADD_FAILURE() << "nothing changed: " << cause;
    return fitted;
  }
  EXPECT_EQ(fitted.change->linear, "mlp.up_proj");
  EXPECT_NE(fitted.change->cause.find(cause), std::string::npos) << fitted.change->cause;
  EXPECT_LE(fitted.change->largest_steps, most_steps);
  EXPECT_NEAR(fitted.change->largest_steps, furthest(weights, fitted.weights), 1e-6);
  EXPECT_LE(fitted.change->mean_square_steps, fitted.change->largest_steps * fitted.change->largest_steps);
  for (const float scale : fitted.weights.scales) EXPECT_EQ(scale, core::half_to_float(core::float_to_half(scale)));
  return fitted;
}

TEST(LinearFit, LeavesWhatTheFormatHolds) {
  expect_unchanged(make_weights(4, 32), kAwq);
  expect_unchanged(make_weights(4, 64), kAwq);
  expect_unchanged(make_weights(4, 64), kQ4_0);
  expect_unchanged(make_weights(8, 32), kQ8_0);
  QuantizedTensor asymmetric = make_weights(4, 32);
  asymmetric.zeros[3] = 5;
  expect_unchanged(asymmetric, kAwq);
}

TEST(LinearFit, MovesCodesToTheMiddleWhereThereIsRoom) {
  QuantizedTensor five_bits = make_weights(8, 32);
  for (uint8_t& code : five_bits.codes) code &= 31;
  five_bits.zeros.assign(five_bits.zeros.size(), 16);
  expect_unchanged(five_bits, kQ8_0);
  QuantizedTensor four_bits = make_weights(4, 32);
  four_bits.zeros[2] = 3;
  expect_unchanged(four_bits, kQ8_0);
}

TEST(LinearFit, OffsetsThatAreMultiplesOfScalesAreZeroPoints) {
  QuantizedTensor weights = make_weights(4, 32);
  for (size_t i = 0; i < weights.scales.size(); ++i) weights.offsets.push_back(-8 * weights.scales[i]);
  weights.zeros.clear();
  expect_unchanged(weights, kAwq);
  weights.offsets[1] = -2.5f * weights.scales[1];
  expect_changed(weights, kAwq, "offsets", 1.0);
}

TEST(LinearFit, RoundsScalesAndOffsetsOnly) {
  QuantizedTensor weights = make_weights(4, 32);
  weights.scales[1] = 0.1f;
  const FittedLinear fitted = expect_changed(weights, kAwq, "scales are not fp16", 8 * 0x1p-11);
  EXPECT_EQ(fitted.weights.codes, weights.codes);
  EXPECT_EQ(fitted.weights.zeros, weights.zeros);
  QuantizedTensor odd = make_weights(4, 32);
  odd.zeros[1] = 11;  // 11 times a scale of 10 bits has more bits than fp16
  odd.scales[1] = 0x1p-7f * (1 + 1023.0f / 1024);
  const FittedLinear with_offsets = expect_changed(odd, kQ4_1, "scales or offsets", 11 * 0x1p-11);
  EXPECT_EQ(with_offsets.weights.codes, odd.codes);
}

TEST(LinearFit, RoundsAnewWhereCodesCannotStay) {
  QuantizedTensor permuted = make_weights(4, 32);
  for (int32_t i = 0; i < 64; ++i) permuted.column_input.push_back(i * 5 % 64);
  EXPECT_TRUE(expect_changed(permuted, kAwq, "act-order", 1.5).weights.column_input.empty());
  expect_changed(make_weights(8, 32), kAwq, "8 bits", 1.5);
  QuantizedTensor small_groups = make_weights(8, 16);
  expect_changed(small_groups, kQ8_0, "groups of 16", 1.0);
  QuantizedTensor asymmetric = make_weights(8, 32);
  asymmetric.zeros[0] = 0;
  expect_changed(asymmetric, kQ8_0, "zero points", 1.0);
}

/// Rounding anew is to find the best of its grids: no worse than the plain one over the whole span.
TEST(LinearFit, RoundsNoWorseThanTheWholeSpan) {
  std::mt19937 engine(5);
  std::normal_distribution<float> normal(0, 1);
  QuantizedTensor fine = make_weights(8, 64);
  for (size_t i = 0; i < fine.codes.size(); ++i) {
    fine.codes[i] = static_cast<uint8_t>(std::clamp(std::lround(128 + 30 * normal(engine)), 0L, 255L));
  }
  const auto values = values_of(fine);
  for (const LinearFormat& format : {kAwq, kQ4_0, kQ4_1}) {
    const auto rounded = values_of(fit_linear(fine, format, "a").weights);
    double error = 0;
    double plain_error = 0;
    for (size_t first = 0; first < values.size(); first += 32) {
      const auto [low, high] = std::minmax_element(values.begin() + first, values.begin() + first + 32);
      const double longest = std::max(std::abs(*low), std::abs(*high));
      const double step = format.zeros == ZeroKind::kMiddle ? longest / 7 : (double{*high} - *low) / 15;
      const double bottom = format.zeros == ZeroKind::kMiddle ? 0 : *low;
      for (size_t i = first; i < first + 32; ++i) {
        error += std::pow(rounded[i] - values[i], 2);
        plain_error += std::pow(std::nearbyint((values[i] - bottom) / step) * step + bottom - values[i], 2);
      }
    }
    EXPECT_LT(error, 1.02 * plain_error) << static_cast<int>(format.zeros);
  }
}

TEST(LinearFit, HoldsGroupsOfZeros) {
  QuantizedTensor zeros = make_weights(8, 32);
  zeros.codes.assign(zeros.codes.size(), 128);
  for (const LinearFormat& format : {kAwq, kQ4_0, kQ4_1}) {
    EXPECT_EQ(values_of(fit_linear(zeros, format, "a").weights), values_of(zeros));
  }
}

TEST(LinearFit, NamesWhatCannotBeHeld) {
  QuantizedTensor large = make_weights(4, 32);
  large.scales[2] = 1e6f;
  expect_error(ErrorKind::kInvalidInput, {"mlp.up_proj", "1000000", "fp16"},
               [&] { fit_linear(large, kAwq, "mlp.up_proj"); });
  large.column_input.resize(64);
  for (int32_t i = 0; i < 64; ++i) large.column_input[i] = 63 - i;
  expect_error(ErrorKind::kInvalidInput, {"mlp.up_proj", "fp16 scales cannot hold"},
               [&] { fit_linear(large, kAwq, "mlp.up_proj"); });
  expect_error(ErrorKind::kUnsupported, {"mlp.up_proj", "64 inputs", "groups of 48"},
               [&] { fit_linear(make_weights(4, 32), {.bits = 4, .group_size = 48}, "mlp.up_proj"); });
}

}  // namespace
}  // namespace salient::convert
