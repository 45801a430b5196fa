#pragma once

#include <cstdint>

#include "core/buffer.h"

namespace salient::quantize {

/// A dense matrix M in the layout of the kernels, to multiply rows of others with.
class Tiles {
 public:
  /// Room for matrices of at most `rows` rows and `columns` columns.
  Tiles(int64_t rows, int64_t columns);

  /// Becomes the matrix [rows, columns] whose element (r, c) is source[r * row_stride + c * column_stride].
  void pack(const float* source, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns);

  /// y[i][r] = sum over c, in order, of x[i][c] * M[r][c] for rows [first, end) of M, both multiples of 16 or the end
  /// of M; y[i][0] is that of row `first`. With `accumulate` the sum starts at y's old value instead of 0. The bits
  /// do not depend on how rows of x are shared out over calls.
  void multiply(int64_t first, int64_t end, const float* x, int64_t x_stride, int64_t x_rows, bool accumulate, float* y,
                int64_t y_stride) const;

  int64_t rows() const { return rows_; }

 private:
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  core::Buffer<float> values_;
};

}  // namespace salient::quantize
