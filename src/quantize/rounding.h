#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/quantized_tensor.h"
#include "core/thread_pool.h"
#include "quantize/matrix.h"

namespace salient::quantize {

/// Whether the zero point of a grid is chosen, or is the middle, 8: symmetric weights, of which none is stored.
enum class Zero { kFree, kMiddle };

/// The int4 grid of one group of weights: w = (code - zero) * scale, code and zero 0..15, scale an fp16 number.
struct Grid {
  static constexpr int kLargestCode = 15;

  float scale;
  int zero;

  /// The code of the nearest value, less the zero point, with ties to even; the lowest for a NaN.
  float steps_of(float weight) const {
    const auto lowest = static_cast<float>(-zero);
    const auto highest = static_cast<float>(kLargestCode - zero);
    const float exact = weight / scale;
    const float above = exact > lowest ? exact : lowest;
    const float bounded = above < highest ? above : highest;
    // Adding 1.5 * 2^23 leaves no bits for a fraction: what nearbyint gives, without a call for each weight.
    constexpr float kIntegers = 0x1.8p23f;
    return (bounded + kIntegers) - kIntegers;
  }
  int code_of(float weight) const { return static_cast<int>(steps_of(weight)) + zero; }
  /// The value that a weight is rounded to.
  float rounded(float weight) const { return steps_of(weight) * scale; }
  float value_of(int code) const { return static_cast<float>(code - zero) * scale; }
};

/// The grid that spans a group's weights and 0. The scale is rounded to fp16 before the zero point is chosen, so that
/// codes are chosen against what is stored.
/// Throws invalid_input for weights that are not finite or too large for an fp16 scale.
Grid make_grid(const float* weights, int size, Zero zero = Zero::kFree);

/// The grid that spans `low` <= 0 to `high` >= 0, as above.
Grid span_grid(float low, float high, Zero zero = Zero::kFree);

/// The grids of plain rounding, [rows, groups].
std::vector<Grid> plain_grids(const Matrix& weights, int group_size, core::ThreadPool& pool, Zero zero = Zero::kFree);

/// A matrix of this shape with these grids, [rows, groups], and all codes 0.
core::QuantizedTensor make_rounded(int64_t rows, int64_t columns, int group_size, std::span<const Grid> grids);

/// Rounds a matrix to grids [rows, groups].
core::QuantizedTensor round_matrix(const Matrix& weights, int group_size, std::span<const Grid> grids,
                                   core::ThreadPool& pool);

}  // namespace salient::quantize
