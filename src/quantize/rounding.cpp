#include "quantize/rounding.h"

#include <algorithm>
#include <cmath>

#include "core/dtype.h"
#include "core/error.h"

namespace salient::quantize {

namespace {

constexpr int kLargestCode = 15;
/// The smallest positive fp16 number: a group of zeros still needs a scale to divide by.
constexpr float kSmallestScale = 0x1p-24f;

}  // namespace

int Grid::code_of(float weight) const {
  const float code = std::nearbyint(weight / scale) + static_cast<float>(zero);
  return static_cast<int>(std::clamp(code, 0.0f, static_cast<float>(kLargestCode)));
}

Grid make_grid(const float* weights, int size, float clip) {
  float lowest = 0;
  float highest = 0;
  bool finite = true;
  for (int i = 0; i < size; ++i) {
    lowest = std::min(lowest, weights[i]);
    highest = std::max(highest, weights[i]);
    finite &= std::isfinite(weights[i]);
  }
  const float bound = clip * std::max(-lowest, highest);
  const float low = std::max(lowest, -bound);
  const float high = std::min(highest, bound);
  const float wanted = std::max((high - low) / kLargestCode, kSmallestScale);
  const float scale = core::half_to_float(core::float_to_half(wanted));
  if (!finite || !std::isfinite(scale)) {
    core::fail(core::ErrorKind::kInvalidInput,
               "a group of weights spans {} to {}, which an fp16 scale cannot hold: the model is damaged", lowest,
               highest);
  }
  const auto zero = static_cast<int>(std::clamp(std::nearbyint(-low / scale), 0.0f, static_cast<float>(kLargestCode)));
  return {scale, zero};
}

void round_row(const float* weights, int64_t columns, int group_size, const Grid* grids, uint8_t* codes, float* scales,
               uint8_t* zeros) {
  for (int64_t group = 0; group < columns / group_size; ++group) {
    const Grid& grid = grids[group];
    for (int64_t i = group * group_size; i < (group + 1) * group_size; ++i) {
      codes[i] = static_cast<uint8_t>(grid.code_of(weights[i]));
    }
    scales[group] = grid.scale;
    zeros[group] = static_cast<uint8_t>(grid.zero);
  }
}

core::QuantizedTensor round_matrix(const Matrix& weights, int group_size, const std::vector<float>& clips,
                                   core::ThreadPool& pool) {
  core::QuantizedTensor result;
  result.out_features = weights.rows;
  result.in_features = weights.columns;
  result.group_size = group_size;
  const int64_t groups = result.groups();
  result.codes.resize(static_cast<size_t>(weights.rows * weights.columns));
  result.scales.resize(static_cast<size_t>(weights.rows * groups));
  result.zeros.resize(static_cast<size_t>(weights.rows * groups));
  pool.split(weights.rows, [&](int64_t begin, int64_t end) {
    std::vector<Grid> grids(static_cast<size_t>(groups));
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t group = 0; group < groups; ++group) {
        const float clip = clips.empty() ? 1.0f : clips[row * groups + group];
        grids[group] = make_grid(weights.row(row) + group * group_size, group_size, clip);
      }
      round_row(weights.row(row), weights.columns, group_size, grids.data(), &result.codes[row * weights.columns],
                &result.scales[row * groups], &result.zeros[row * groups]);
    }
  });
  return result;
}

}  // namespace salient::quantize
