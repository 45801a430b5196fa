#pragma once

#include <cstdint>

#include "core/quantized_tensor.h"
#include "core/thread_pool.h"
#include "quantize/matrix.h"

namespace salient::quantize {

/// The int4 grid of one group of weights: w = (code - zero) * scale, code and zero 0..15, scale an fp16 number.
struct Grid {
  float scale;
  int zero;

  int code_of(float weight) const;
  float value_of(int code) const { return static_cast<float>(code - zero) * scale; }
};

/// The grid that spans the group's weights and 0, of which those beyond `clip` times the largest magnitude are cut off.
/// The scale is rounded to fp16 before the zero point is chosen, so that codes are chosen against what is stored.
/// Throws invalid_input for weights that are not finite or too large for an fp16 scale.
Grid make_grid(const float* weights, int size, float clip);

/// Rounds one row with a grid a group, into codes, scales and zeros of the row.
void round_row(const float* weights, int64_t columns, int group_size, const Grid* grids, uint8_t* codes, float* scales,
               uint8_t* zeros);

/// Rounds a matrix. `clips` is [rows, groups], or empty for no clipping.
core::QuantizedTensor round_matrix(const Matrix& weights, int group_size, const std::vector<float>& clips,
                                   core::ThreadPool& pool);

}  // namespace salient::quantize
