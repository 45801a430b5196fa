#include "quantize/grid_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/dtype.h"
#include "core/group_grid.h"

namespace salient::quantize {

namespace {

constexpr int64_t kRowBlock = 96;
/// Shares of a range that are tried: 1, 0.9 ... 0.6, then half a step around the best.
constexpr int kShares = 5;
constexpr float kStep = 0.1f;
constexpr float kFineStep = 0.05f;
/// Times that a scale is fitted to the codes, and codes to the scale.
constexpr int kRefits = 2;

/// What is known of one row of the group.
struct Row {
  float lowest = 0;  ///< of its weights and 0
  float highest = 0;
  Grid grid{};
  float low_share = 1;
  float high_share = 1;
  double loss = std::numeric_limits<double>::infinity();
};

/// The search in one group of a block of rows. All rows are tried together, each with a candidate of its own.
class GroupSearch {
 public:
  GroupSearch(const float* weights, int64_t stride, int64_t rows, int size, const GroupForm& form, Zero zero)
      : weights_(weights),
        stride_(stride),
        size_(size),
        form_(form),
        zero_(zero),
        rows_(static_cast<size_t>(rows)),
        deltas_(rows, size),
        products_(rows, size),
        losses_(static_cast<size_t>(rows)) {
    for (int64_t row = 0; row < rows; ++row) {
      make_grid(weights_of(row), size);  // refuses what is not finite
      const auto [lowest, highest] = std::minmax_element(weights_of(row), weights_of(row) + size);
      rows_[row].lowest = std::min(*lowest, 0.0f);
      rows_[row].highest = std::max(*highest, 0.0f);
    }
  }

  void search() {
    for (int low = 0; low < kShares; ++low) {
      for (int high = 0; high < kShares; ++high) try_shares([&](Row& row) { set_shares(row, low, high); });
    }
    const std::vector<Row> coarse = rows_;
    for (const int low : {-1, 0, 1}) {
      for (const int high : {-1, 0, 1}) {
        if (low == 0 && high == 0) continue;
        try_shares([&](Row& row) {
          const Row& centre = coarse[&row - candidates_.data()];
          row.low_share = centre.low_share + kFineStep * static_cast<float>(low);
          row.high_share = centre.high_share + kFineStep * static_cast<float>(high);
        });
      }
    }
    for (const int shift : {-1, 1}) {
      if (zero_ == Zero::kMiddle) break;
      candidates_ = rows_;
      for (Row& row : candidates_) row.grid.zero = std::clamp(row.grid.zero + shift, 0, Grid::kLargestCode);
      refit();
      keep_better();
    }
    for (int i = 0; i < kRefits; ++i) {
      candidates_ = rows_;
      refit();
      keep_better();
    }
  }

  const Grid& grid(int64_t row) const { return rows_[row].grid; }

 private:
  const float* weights_of(int64_t row) const { return weights_ + row * stride_; }

  static void set_shares(Row& row, int low, int high) {
    row.low_share = 1.0f - kStep * static_cast<float>(low);
    row.high_share = 1.0f - kStep * static_cast<float>(high);
  }

  template <typename SetShares>
  void try_shares(SetShares&& set) {
    candidates_ = rows_;
    for (Row& row : candidates_) {
      set(row);
      row.grid = span_grid(row.lowest * row.low_share, row.highest * row.high_share, zero_);
    }
    keep_better();
  }

  /// Gives each candidate the scale with the least error for the codes that it has now.
  void refit() {
    for (int64_t row = 0; row < std::ssize(candidates_); ++row) {
      const Grid grid = candidates_[row].grid;
      const float* w = weights_of(row);
      float* steps = deltas_.row(row);
      for (int i = 0; i < size_; ++i) steps[i] = grid.steps_of(w[i]);
    }
    form_.evaluate(deltas_.row(0), std::ssize(candidates_), size_, products_.row(0), losses_.data());
    for (int64_t row = 0; row < std::ssize(candidates_); ++row) {
      if (!(losses_[row] > 0)) continue;
      const auto fitted = static_cast<float>(dot(products_.row(row), weights_of(row), size_) / losses_[row]);
      const float scale = core::half_to_float(core::float_to_half(fitted));
      if (scale >= core::kSmallestHalf && std::isfinite(scale)) candidates_[row].grid.scale = scale;
    }
  }

  /// Replaces rows by the candidates that are better.
  void keep_better() {
    for (int64_t row = 0; row < std::ssize(candidates_); ++row) {
      const Grid grid = candidates_[row].grid;
      const float* w = weights_of(row);
      float* delta = deltas_.row(row);
      for (int i = 0; i < size_; ++i) delta[i] = grid.rounded(w[i]) - w[i];
    }
    form_.evaluate(deltas_.row(0), std::ssize(candidates_), size_, products_.row(0), losses_.data());
    for (int64_t row = 0; row < std::ssize(candidates_); ++row) {
      if (!(losses_[row] < rows_[row].loss)) continue;
      rows_[row] = candidates_[row];
      rows_[row].loss = losses_[row];
    }
  }

  const float* weights_;
  int64_t stride_;
  int size_;
  const GroupForm& form_;
  Zero zero_;
  std::vector<Row> rows_;
  std::vector<Row> candidates_;
  Matrix deltas_;
  Matrix products_;
  std::vector<double> losses_;
};

}  // namespace

std::vector<Grid> search_grids(const Matrix& weights, const GroupedForm& form, int group_size, core::ThreadPool& pool,
                               Zero zero) {
  const int64_t groups = weights.columns / group_size;
  std::vector<Grid> grids(static_cast<size_t>(weights.rows * groups));
  const int64_t row_blocks = (weights.rows + kRowBlock - 1) / kRowBlock;
  pool.each(groups * row_blocks, [&](int64_t item) {
    const int64_t group = item / row_blocks;
    const int64_t first = item % row_blocks * kRowBlock;
    const int64_t rows = std::min(kRowBlock, weights.rows - first);
    GroupSearch search(weights.row(first) + group * group_size, weights.columns, rows, group_size, form.groups[group],
                       zero);
    search.search();
    for (int64_t row = 0; row < rows; ++row) grids[(first + row) * groups + group] = search.grid(row);
  });
  return grids;
}

}  // namespace salient::quantize
