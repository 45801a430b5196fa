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

/// The smallest positive fp16 number: a group of zeros still needs a scale to divide by.
constexpr float kSmallestScale = 0x1p-24f;

/// A scale with a zero point (kInteger, kMiddle) or an offset (kOffset).
struct Grid {
  float scale;
  float zero;
  float offset;

  int code_of(float weight, int largest) const {
    const float code = std::nearbyint((weight - offset) / scale + zero);
    return static_cast<int>(std::clamp(code, 0.0f, static_cast<float>(largest)));
  }
  float value_of(int code) const { return (static_cast<float>(code) - zero) * scale + offset; }
};

/// The grid that spans `share` of the weights between `low` and `high`; 0 is on it but for kOffset.
Grid make_grid(float low, float high, float share, const LinearFormat& format) {
  const int largest = (1 << format.bits) - 1;
  const auto codes = static_cast<float>(largest);
  if (format.zeros == ZeroKind::kMiddle) {
    // The code furthest below the middle is one step further away than the one furthest above: the longer side gets it
    // by the sign of the scale.
    const float middle = static_cast<float>(1 << (format.bits - 1));
    const float longest = -low > high ? low : high;
    float scale = round_to_half(-longest * share / middle);
    if (std::abs(scale) < kSmallestScale) scale = kSmallestScale;
    return {scale, middle, 0};
  }
  const float bottom = format.zeros == ZeroKind::kOffset ? low : std::min(low, 0.0f);
  const float top = format.zeros == ZeroKind::kOffset ? high : std::max(high, 0.0f);
  const float scale = round_to_half(std::max((top - bottom) * share / codes, kSmallestScale));
  const float middle = (top + bottom) / 2 - scale * codes / 2;  // what the smallest code stands for
  if (format.zeros == ZeroKind::kOffset) return {scale, 0, round_to_half(middle)};
  return {scale, std::clamp(std::nearbyint(-middle / scale), 0.0f, codes), 0};
}

double squared_error(const float* weights, int size, const Grid& grid, int largest) {
  double error = 0;
  for (int i = 0; i < size; ++i) {
    const double difference = grid.value_of(grid.code_of(weights[i], largest)) - weights[i];
    error += difference * difference;
  }
  return error;
}

/// The best of the grids that span 80 to 100 % of a group.
Grid find_grid(const float* weights, const LinearFormat& format, const std::string& linear) {
  constexpr int kShares = 11;
  const auto [low, high] = std::minmax_element(weights, weights + format.group_size);
  const int largest = (1 << format.bits) - 1;
  Grid best{};
  double least = INFINITY;
  for (int i = 0; i < kShares; ++i) {
    const Grid grid = make_grid(*low, *high, 1.0f - 0.02f * static_cast<float>(i), format);
    const double error = squared_error(weights, format.group_size, grid, largest);
    if (error < least) {
      least = error;
      best = grid;
    }
  }
  if (!std::isfinite(least)) {
    fail(ErrorKind::kInvalidInput, "tensor {}: a group of weights spans {} to {}, which fp16 scales cannot hold",
         linear, *low, *high);
  }
  return best;
}

QuantizedTensor round_anew(const std::vector<float>& values, const QuantizedTensor& source, const LinearFormat& format,
                           const std::string& linear) {
  QuantizedTensor result;
  result.out_features = source.out_features;
  result.in_features = source.in_features;
  result.bits = format.bits;
  result.group_size = format.group_size;
  result.codes.resize(values.size());
  for (size_t first = 0; first < values.size(); first += static_cast<size_t>(format.group_size)) {
    const Grid grid = find_grid(&values[first], format, linear);
    for (size_t i = first; i < first + static_cast<size_t>(format.group_size); ++i) {
      result.codes[i] = static_cast<uint8_t>(grid.code_of(values[i], (1 << format.bits) - 1));
    }
    result.scales.push_back(grid.scale);
    if (format.zeros == ZeroKind::kOffset) {
      result.offsets.push_back(grid.offset);
    } else {
      result.zeros.push_back(static_cast<uint8_t>(grid.zero));
    }
  }
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
    if (divisor && rounded == 0) rounded = std::copysign(kSmallestScale, value);
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
