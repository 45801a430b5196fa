#include "quantize/compensation.h"

#include <algorithm>

#include "quantize/tiles.h"

namespace salient::quantize {

namespace {

/// Inputs whose errors are passed on one by one; to all others they go as one product of matrices.
constexpr int64_t kBlock = 64;
constexpr int64_t kRowBlock = 96;

/// Rounds inputs [begin, end) of the factor's order for one row. `feedback` holds what later inputs pass on to them:
/// the sum of e_i L_ik for each; `errors` gets theirs.
void round_block(const float* weights, const DampedFactor& factor, const Grid* grids, int group_size, int64_t begin,
                 int64_t end, float* feedback, float* errors, uint8_t* codes) {
  for (int64_t k = end - 1; k >= begin; --k) {
    const float* l = factor.lower.row(k);
    const int32_t input = factor.order[k];
    const Grid& grid = grids[input / group_size];
    const int code = grid.code_of(weights[input] + feedback[k - begin] / l[k]);
    const float error = weights[input] - grid.value_of(code);
    codes[input] = static_cast<uint8_t>(code);
    errors[k] = error;
    for (int64_t i = begin; i < k; ++i) feedback[i - begin] += error * l[i];
  }
}

}  // namespace

core::QuantizedTensor compensate(const Matrix& weights, const DampedFactor& factor, std::span<const Grid> grids,
                                 int group_size, core::ThreadPool& pool) {
  const int64_t size = weights.columns;
  const int64_t groups = size / group_size;
  core::QuantizedTensor result = make_rounded(weights.rows, size, group_size, grids);
  Matrix errors(weights.rows, size);
  Tiles tiles(kBlock, size);
  for (int64_t end = size; end > 0;) {
    const int64_t begin = (end - 1) / kBlock * kBlock;
    if (end < size) tiles.pack(factor.lower.row(end) + begin, 1, size, end - begin, size - end);
    pool.each((weights.rows + kRowBlock - 1) / kRowBlock, [&](int64_t block) {
      const int64_t first = block * kRowBlock;
      const int64_t count = std::min(kRowBlock, weights.rows - first);
      Matrix feedback(count, end - begin);
      if (end < size) {
        tiles.multiply(0, end - begin, errors.row(first) + end, size, count, false, feedback.row(0), end - begin);
      }
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = first + i;
        round_block(weights.row(row), factor, &grids[row * groups], group_size, begin, end, feedback.row(i),
                    errors.row(row), &result.codes[row * size]);
      }
    });
    end = begin;
  }
  return result;
}

}  // namespace salient::quantize
