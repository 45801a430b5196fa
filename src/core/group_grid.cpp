#include "core/group_grid.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/dtype.h"
#include "core/error.h"

namespace salient::core {

namespace {

float round_to_half(float value) {
  return half_to_float(float_to_half(value));
}

/// The grid that spans `share` of the weights between `low` and `high`; 0 is on it but for kOffset.
GroupGrid make_grid(float low, float high, float share, int bits, ZeroKind zeros) {
  const auto codes = static_cast<float>((1 << bits) - 1);
  if (zeros == ZeroKind::kMiddle) {
    // The code furthest below the middle is one step further away than the one furthest above: the longer side gets it
    // by the sign of the scale.
    const float middle = static_cast<float>(1 << (bits - 1));
    const float longest = -low > high ? low : high;
    float scale = round_to_half(-longest * share / middle);
    if (std::abs(scale) < kSmallestHalf) scale = kSmallestHalf;
    return {scale, middle, 0};
  }
  const float bottom = zeros == ZeroKind::kOffset ? low : std::min(low, 0.0f);
  const float top = zeros == ZeroKind::kOffset ? high : std::max(high, 0.0f);
  const float scale = round_to_half(std::max((top - bottom) * share / codes, kSmallestHalf));
  const float middle = (top + bottom) / 2 - scale * codes / 2;  // what the smallest code stands for
  if (zeros == ZeroKind::kOffset) return {scale, 0, round_to_half(middle)};
  return {scale, std::clamp(std::nearbyint(-middle / scale), 0.0f, codes), 0};
}

double squared_error(std::span<const float> weights, const GroupGrid& grid, int largest) {
  // Independent sums, so that the compiler may take several weights at once.
  constexpr size_t kSums = 8;
  double sums[kSums] = {};
  const auto add = [&](size_t i, size_t count) {
    for (size_t sum = 0; sum < count; ++sum) {
      const float difference = grid.value_of(grid.code_of(weights[i + sum], largest)) - weights[i + sum];
      sums[sum] += static_cast<double>(difference) * difference;
    }
  };
  const size_t whole = weights.size() / kSums * kSums;
  for (size_t i = 0; i < whole; i += kSums) add(i, kSums);
  add(whole, weights.size() - whole);
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

}  // namespace

GroupGrid find_grid(std::span<const float> weights, int bits, ZeroKind zeros, const std::string& tensor) {
  constexpr int kShares = 11;
  const auto [low, high] = std::minmax_element(weights.begin(), weights.end());
  GroupGrid best{};
  double least = INFINITY;
  for (int i = 0; i < kShares; ++i) {
    const GroupGrid grid = make_grid(*low, *high, 1.0f - 0.02f * static_cast<float>(i), bits, zeros);
    const double error = squared_error(weights, grid, (1 << bits) - 1);
    if (error < least) {
      least = error;
      best = grid;
    }
  }
  if (!std::isfinite(least)) {
    fail(ErrorKind::kInvalidInput, "tensor {}: a group of weights spans {} to {}, which fp16 scales cannot hold",
         tensor, *low, *high);
  }
  return best;
}

QuantizedTensor make_rounding_target(int64_t out_features, int64_t in_features, int bits, int group_size,
                                     ZeroKind zeros) {
  QuantizedTensor target;
  target.out_features = out_features;
  target.in_features = in_features;
  target.bits = bits;
  target.group_size = group_size;
  const auto groups = static_cast<size_t>(out_features * target.groups());
  target.codes.resize(static_cast<size_t>(out_features * in_features));
  target.scales.resize(groups);
  zeros == ZeroKind::kOffset ? target.offsets.resize(groups) : target.zeros.resize(groups);
  return target;
}

void round_groups(std::span<const float> weights, ZeroKind zeros, const std::string& tensor, int64_t first,
                  QuantizedTensor& target) {
  const auto size = static_cast<size_t>(target.group_size);
  for (size_t start = 0; start < weights.size(); start += size) {
    const auto values = weights.subspan(start, size);
    const GroupGrid grid = find_grid(values, target.bits, zeros, tensor);
    const size_t target_start = static_cast<size_t>(first) + start;
    for (size_t i = 0; i < size; ++i) {
      target.codes[target_start + i] = static_cast<uint8_t>(grid.code_of(values[i], (1 << target.bits) - 1));
    }
    const size_t group = target_start / size;
    target.scales[group] = grid.scale;
    if (zeros == ZeroKind::kOffset) {
      target.offsets[group] = grid.offset;
    } else {
      target.zeros[group] = static_cast<uint8_t>(grid.zero);
    }
  }
}

}  // namespace salient::core
