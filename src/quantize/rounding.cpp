#include "quantize/rounding.h"

#include <algorithm>
#include <cmath>

#include "core/dtype.h"
#include "core/error.h"
#include "core/group_grid.h"

namespace salient::quantize {

Grid span_grid(float low, float high, Zero zero_kind) {
  constexpr int kMiddle = (Grid::kLargestCode + 1) / 2;
  const float range = zero_kind == Zero::kFree ? (high - low) / Grid::kLargestCode
                                               : std::max(-low / kMiddle, high / (Grid::kLargestCode - kMiddle));
  const float wanted = std::max(range, core::kSmallestHalf);
  const float scale = core::half_to_float(core::float_to_half(wanted));
  if (!std::isfinite(scale) || std::isnan(low)) {
    core::fail(core::ErrorKind::kInvalidInput,
               "a group of weights spans {} to {}, which an fp16 scale cannot hold: the model is damaged", low, high);
  }
  if (zero_kind == Zero::kMiddle) return {scale, kMiddle};
  const float zero = std::clamp(std::nearbyint(-low / scale), 0.0f, static_cast<float>(Grid::kLargestCode));
  return {scale, static_cast<int>(zero)};
}

Grid make_grid(const float* weights, int size, Zero zero) {
  float lowest = 0;
  float highest = 0;
  for (int i = 0; i < size; ++i) {
    if (std::isnan(weights[i])) return span_grid(weights[i], weights[i]);
    lowest = std::min(lowest, weights[i]);
    highest = std::max(highest, weights[i]);
  }
  return span_grid(lowest, highest, zero);
}

std::vector<Grid> plain_grids(const Matrix& weights, int group_size, core::ThreadPool& pool, Zero zero) {
  const int64_t groups = weights.columns / group_size;
  std::vector<Grid> grids(static_cast<size_t>(weights.rows * groups));
  pool.split(weights.rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * groups; i < end * groups; ++i)
      grids[i] = make_grid(&weights.values[i * group_size], group_size, zero);
  });
  return grids;
}

core::QuantizedTensor make_rounded(int64_t rows, int64_t columns, int group_size, std::span<const Grid> grids) {
  core::QuantizedTensor result;
  result.out_features = rows;
  result.in_features = columns;
  result.group_size = group_size;
  result.codes.resize(static_cast<size_t>(rows * columns));
  for (const Grid& grid : grids) {
    result.scales.push_back(grid.scale);
    result.zeros.push_back(static_cast<uint8_t>(grid.zero));
  }
  return result;
}

core::QuantizedTensor round_matrix(const Matrix& weights, int group_size, std::span<const Grid> grids,
                                   core::ThreadPool& pool) {
  core::QuantizedTensor result = make_rounded(weights.rows, weights.columns, group_size, grids);
  const int64_t groups = result.groups();
  pool.split(weights.rows, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin * groups; group < end * groups; ++group) {
      for (int64_t i = group * group_size; i < (group + 1) * group_size; ++i) {
        result.codes[i] = static_cast<uint8_t>(grids[group].code_of(weights.values[i]));
      }
    }
  });
  return result;
}

}  // namespace salient::quantize
