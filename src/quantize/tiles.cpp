#include "quantize/tiles.h"

#include "kernels/kernels.h"

namespace salient::quantize {

using kernels::kLanes;

namespace {

int64_t tiles_of(int64_t rows) {
  return (rows + kLanes - 1) / kLanes;
}

}  // namespace

Tiles::Tiles(int64_t rows, int64_t columns) : values_(tiles_of(rows) * kLanes * columns) {}

void Tiles::pack(const float* source, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns) {
  rows_ = rows;
  columns_ = columns;
  float* out = values_.data();
  for (int64_t first = 0; first < rows; first += kLanes) {
    for (int64_t column = 0; column < columns; ++column, out += kLanes) {
      const float* from = source + first * row_stride + column * column_stride;
      for (int64_t lane = 0; lane < kLanes; ++lane) out[lane] = first + lane < rows ? from[lane * row_stride] : 0.0f;
    }
  }
}

void Tiles::multiply(int64_t first, int64_t end, const float* x, int64_t x_stride, int64_t x_rows, bool accumulate,
                     float* y, int64_t y_stride) const {
  const kernels::DenseTiles part{values_.data() + first * columns_, end - first, columns_};
  kernels::active_kernels().multiply_f32(part, 0, tiles_of(end - first), x, x_stride, x_rows, accumulate, y, y_stride);
}

}  // namespace salient::quantize
