#include "quantize/clip_search.h"

#include <algorithm>
#include <limits>

#include "quantize/gram.h"
#include "quantize/rounding.h"

namespace salient::quantize {

namespace {

constexpr int kCandidates = 10;
constexpr float kStep = 0.05f;
constexpr int64_t kRowBlock = 96;

/// The best share for each row of one group.
void search_group(const Matrix& weights, const QuadraticForm& form, int64_t group, int group_size, int64_t first_row,
                  int64_t rows, std::vector<float>& clips) {
  const int64_t groups = weights.columns / group_size;
  std::vector<double> best(static_cast<size_t>(rows), std::numeric_limits<double>::infinity());
  std::vector<double> losses(static_cast<size_t>(rows));
  Matrix deltas(rows, group_size);
  Matrix scratch(rows, group_size);
  for (int candidate = 0; candidate < kCandidates; ++candidate) {
    const float clip = 1.0f - kStep * static_cast<float>(candidate);
    for (int64_t row = 0; row < rows; ++row) {
      const float* w = weights.row(first_row + row) + group * group_size;
      const Grid grid = make_grid(w, group_size, clip);
      for (int i = 0; i < group_size; ++i) deltas.row(row)[i] = grid.value_of(grid.code_of(w[i])) - w[i];
    }
    form.evaluate(deltas.values.data(), rows, group_size, scratch.values.data(), losses.data());
    for (int64_t row = 0; row < rows; ++row) {
      if (!(losses[row] < best[row])) continue;
      best[row] = losses[row];
      clips[(first_row + row) * groups + group] = clip;
    }
  }
}

/// The error of the whole linear with these clips.
double whole_loss(const Matrix& weights, const QuadraticForm& form, int group_size, const std::vector<float>& clips,
                  core::ThreadPool& pool) {
  const core::QuantizedTensor rounded = round_matrix(weights, group_size, clips, pool);
  const int64_t blocks = (weights.rows + kRowBlock - 1) / kRowBlock;
  std::vector<double> block_losses(static_cast<size_t>(blocks));
  pool.each(blocks, [&](int64_t block) {
    const int64_t first = block * kRowBlock;
    const int64_t count = std::min(kRowBlock, weights.rows - first);
    Matrix deltas(count, weights.columns);
    Matrix scratch(count, weights.columns);
    std::vector<double> losses(static_cast<size_t>(count));
    rounded.dequantize_rows(first, count, deltas.values.data());
    for (int64_t i = 0; i < count * weights.columns; ++i) deltas.values[i] -= weights.row(first)[i];
    form.evaluate(deltas.values.data(), count, weights.columns, scratch.values.data(), losses.data());
    for (const double loss : losses) block_losses[block] += loss;
  });
  double total = 0;
  for (const double loss : block_losses) total += loss;
  return total;
}

}  // namespace

ClipChoice search_clips(const Matrix& weights, const Matrix& gram, int group_size, core::ThreadPool& pool) {
  const int64_t groups = weights.columns / group_size;
  const int64_t row_blocks = (weights.rows + kRowBlock - 1) / kRowBlock;
  ClipChoice choice;
  choice.clips.resize(static_cast<size_t>(weights.rows * groups));
  for (int64_t group = 0; group < groups; ++group) {
    const QuadraticForm form(gram, group * group_size, group_size);
    pool.each(row_blocks, [&](int64_t block) {
      const int64_t first = block * kRowBlock;
      search_group(weights, form, group, group_size, first, std::min(kRowBlock, weights.rows - first), choice.clips);
    });
  }
  const QuadraticForm whole(gram, 0, gram.rows);
  choice.unclipped_loss = whole_loss(weights, whole, group_size, {}, pool);
  choice.loss = whole_loss(weights, whole, group_size, choice.clips, pool);
  if (choice.loss < choice.unclipped_loss) return choice;
  return {{}, choice.unclipped_loss, choice.unclipped_loss};
}

}  // namespace salient::quantize
