#include "quantize/correction.h"

#include <algorithm>

#include "quantize/tiles.h"

namespace salient::quantize {

namespace {

constexpr int64_t kBlock = 64;
constexpr int64_t kRowBlock = 96;

/// W D with its columns in the order of the factor.
Matrix multiply_in_order(const Matrix& weights, const Matrix& drift, const std::vector<int32_t>& order,
                         core::ThreadPool& pool) {
  const int64_t size = weights.columns;
  std::vector<int32_t> place(order.size());
  for (int64_t i = 0; i < size; ++i) place[order[i]] = static_cast<int32_t>(i);
  Matrix result(weights.rows, size);
  Tiles tiles(kBlock, size);
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t width = std::min(kBlock, size - begin);
    tiles.pack(drift.row(0) + begin, 1, size, width, size);
    pool.each((weights.rows + kRowBlock - 1) / kRowBlock, [&](int64_t block) {
      const int64_t first = block * kRowBlock;
      const int64_t count = std::min(kRowBlock, weights.rows - first);
      Matrix products(count, width);
      tiles.multiply(0, width, weights.row(first), size, count, false, products.row(0), width);
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t column = 0; column < width; ++column) {
          result.row(first + i)[place[begin + column]] = products.row(i)[column];
        }
      }
    });
  }
  return result;
}

}  // namespace

Matrix correct_weights(const Matrix& weights, const Matrix& drift, const DampedFactor& factor, float share,
                       core::ThreadPool& pool) {
  Matrix change = multiply_in_order(weights, drift, factor.order, pool);
  solve_rows(factor.lower, change, pool);
  Matrix result = weights;
  for (int64_t row = 0; row < weights.rows; ++row) {
    for (int64_t i = 0; i < weights.columns; ++i) result.row(row)[factor.order[i]] += share * change.row(row)[i];
  }
  return result;
}

}  // namespace salient::quantize
