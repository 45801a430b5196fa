#include "convert/linear_fit.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"

namespace salient::convert {

using core::ErrorKind;
using core::fail;
using core::QuantizedTensor;

namespace {

float round_to_half(float value) {
  return core::half_to_float(core::float_to_half(value));
}

QuantizedTensor round_anew(const std::vector<float>& values, const QuantizedTensor& source, const LinearFormat& format,
                           const std::string& linear) {
  QuantizedTensor result =
      core::make_rounding_target(source.out_features, source.in_features, format.bits, format.group_size, format.zeros);
  core::round_groups(values, format.zeros, linear, 0, result);
  return result;
}

/// Why codes cannot stay; empty where they can.
std::string cause_of_rounding(const QuantizedTensor& weights, const LinearFormat& format) {
  if (!weights.column_input.empty()) return "its inputs are in another order (act-order)";
  if (weights.bits > format.bits) return fmt::format("it has {} bits", weights.bits);
  if (weights.group_size % format.group_size != 0) return fmt::format("it has groups of {}", weights.group_size);
  const auto beyond = [&](uint8_t zero) { return zero >> format.bits != 0; };
  if (format.zeros == ZeroKind::kInteger && std::any_of(weights.zeros.begin(), weights.zeros.end(), beyond)) {
    return "a zero point is beyond its bits";
  }
  return {};
}

/// Makes the zero points that offsets amount to. False where one is not an integer of the codes' range, to within the
/// precision of fp32.
bool offsets_to_zeros(QuantizedTensor& weights) {
  const auto largest = static_cast<float>((1 << weights.bits) - 1);
  std::vector<uint8_t> zeros;
  for (size_t i = 0; i < weights.offsets.size(); ++i) {
    const float zero = -weights.offsets[i] / weights.scales[i];
    const float nearest = std::nearbyint(zero);
    if (!(std::abs(zero - nearest) < 1e-3f) || nearest < 0 || nearest > largest) return false;
    zeros.push_back(static_cast<uint8_t>(nearest));
  }
  weights.zeros = std::move(zeros);
  weights.offsets.clear();
  return true;
}

/// Moves codes so that every zero point is in the middle. False where there is not the room.
bool move_zeros_to_middle(QuantizedTensor& weights) {
  const int middle = 1 << (weights.bits - 1);
  for (size_t i = 0; i < weights.codes.size(); ++i) {
    const int code = weights.codes[i] + middle - weights.zeros[i / static_cast<size_t>(weights.group_size)];
    if (code < 0 || code >> weights.bits != 0) return false;
    weights.codes[i] = static_cast<uint8_t>(code);
  }
  std::fill(weights.zeros.begin(), weights.zeros.end(), static_cast<uint8_t>(middle));
  return true;
}

/// Rounds scales and offsets to fp16.
void round_parameters(QuantizedTensor& weights, const LinearFormat& format, const std::string& linear) {
  const auto round = [&](float value, bool divisor) {
    float rounded = round_to_half(value);
    if (divisor && rounded == 0) rounded = std::copysign(core::kSmallestHalf, value);
    if (!std::isfinite(rounded)) {
      fail(ErrorKind::kInvalidInput, "tensor {}: has a scale or offset of {}, which fp16 cannot hold (largest 65504)",
           linear, value);
    }
    return rounded;
  };
  if (format.zeros == ZeroKind::kOffset && weights.offsets.empty()) {
    for (size_t i = 0; i < weights.zeros.size(); ++i) {
      weights.offsets.push_back(-static_cast<float>(weights.zeros[i]) * weights.scales[i]);
    }
    weights.zeros.clear();
  }
  if (!format.half_scales) return;
  for (float& scale : weights.scales) scale = round(scale, true);
  for (float& offset : weights.offsets) offset = round(offset, false);
}

void measure(const std::vector<float>& before, const QuantizedTensor& fitted, WeightChange& change) {
  std::vector<float> after(before.size());
  fitted.dequantize_rows(0, fitted.out_features, after.data());
  double squares = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const float scale = fitted.scales[i / static_cast<size_t>(fitted.group_size)];
    const double steps = std::abs((static_cast<double>(after[i]) - before[i]) / scale);
    change.largest_steps = std::max(change.largest_steps, steps);
    squares += steps * steps;
  }
  change.mean_square_steps = squares / static_cast<double>(before.size());
}

}  // namespace

void refuse_change(const WeightChange& change, const std::string& origin, const std::string& format) {
  fail(ErrorKind::kUnsupported,
       "{}: tensor {}: {} does not hold it exactly, because {}; without --exact its weights move by up to {:.2g} of a "
       "step",
       origin, change.linear, format, change.cause, change.largest_steps);
}

FittedLinear fit_linear(QuantizedTensor weights, const LinearFormat& format, const std::string& linear) {
  if (weights.in_features % format.group_size != 0) {
    fail(ErrorKind::kUnsupported, "tensor {}: has {} inputs, which groups of {} do not divide", linear,
         weights.in_features, format.group_size);
  }
  std::vector<int32_t> input_order;
  if (format.input_order) input_order = std::exchange(weights.column_input, {});
  WeightChange change{linear, cause_of_rounding(weights, format), 0, 0};
  QuantizedTensor fitted = weights;
  if (change.cause.empty()) {
    fitted.bits = format.bits;
    fitted.split_groups(format.group_size);
    const bool integers = format.zeros == ZeroKind::kOffset || fitted.offsets.empty() || offsets_to_zeros(fitted);
    if (!integers) {
      change.cause = "its offsets are no multiples of its scales";
    } else if (format.zeros == ZeroKind::kMiddle && !move_zeros_to_middle(fitted)) {
      change.cause = "its zero points are not all in the middle";
    }
  }
  std::vector<float> before(weights.codes.size());
  weights.dequantize_rows(0, weights.out_features, before.data());
  if (!change.cause.empty()) {
    fitted = round_anew(before, weights, format, linear);
  } else {
    round_parameters(fitted, format, linear);
    change.cause = format.zeros == ZeroKind::kOffset ? "its scales or offsets are not fp16 numbers"
                   : !weights.offsets.empty()        ? "its offsets become zero points"
                                                     : "its scales are not fp16 numbers";
  }
  measure(before, fitted, change);
  fitted.column_input = std::move(input_order);
  if (change.largest_steps == 0) return {std::move(fitted), std::nullopt};
  return {std::move(fitted), std::move(change)};
}

}  // namespace salient::convert
