#include "quantize/scale_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/math.h"
#include "quantize/quadratic_form.h"
#include "quantize/rounding.h"

namespace salient::quantize {

namespace {

/// Ratios go in steps of 1 / kRatios, then of a half and a quarter of that around the best; where a sample of rows has
/// to do, in steps of twice that first.
constexpr int kRatios = 20;
/// Rows that go through the quadratic form together.
constexpr int64_t kRowBlock = 96;
/// Multiply-adds a candidate may take before rows are left out: the choice of a scale needs only a sample of them.
/// Where one input outweighs all others it has as many roundings to tell candidates apart by as the sample has rows.
constexpr double kFullWork = 8e9;
constexpr double kLeastRows = 512;

/// Every how many rows are in the sample.
int64_t row_step_of(double rows, double width) {
  const double wanted = std::min(std::ceil(rows * width * width / kFullWork), std::floor(rows / kLeastRows));
  return static_cast<int64_t>(std::max(wanted, 1.0));
}

int first_step_of(int64_t row_step) {
  return row_step > 1 ? 2 : 1;
}

/// Mean over rows of |w| relative to the largest of its group, per input.
std::vector<float> relative_magnitudes(const ScaleGroup& group, int group_size) {
  const int64_t width = group.gram->columns;
  std::vector<double> sums(static_cast<size_t>(width));
  int64_t rows = 0;
  for (const Matrix* weights : group.weights) {
    rows += weights->rows;
    for (int64_t row = 0; row < weights->rows; ++row) {
      const float* w = weights->row(row);
      for (int64_t first = 0; first < width; first += group_size) {
        float largest = 0;
        for (int64_t i = first; i < first + group_size; ++i) largest = std::max(largest, std::fabs(w[i]));
        for (int64_t i = first; i < first + group_size; ++i) sums[i] += std::fabs(w[i]) / (largest + 1e-6f);
      }
    }
  }
  std::vector<float> means;
  for (const double sum : sums) means.push_back(static_cast<float>(sum / static_cast<double>(rows)));
  return means;
}

/// Gives tied heads the mean of their values.
void tie_heads(const ScaleGroup& group, std::vector<float>& values) {
  if (group.tied_heads == 1) return;
  const int64_t span = group.tied_heads * group.head_dim;
  for (int64_t first = 0; first < std::ssize(values); first += span) {
    for (int64_t d = 0; d < group.head_dim; ++d) {
      float sum = 0;
      for (int64_t head = 0; head < group.tied_heads; ++head) sum += values[first + head * group.head_dim + d];
      for (int64_t head = 0; head < group.tied_heads; ++head) {
        values[first + head * group.head_dim + d] = sum / static_cast<float>(group.tied_heads);
      }
    }
  }
}

/// x^ratio / w^weight_ratio, normalized so that the largest and the smallest scale multiply to 1.
std::vector<float> make_scales(std::span<const float> x, std::span<const float> w, double ratio, double weight_ratio) {
  constexpr double kSmallest = 1e-4;
  std::vector<double> scales;
  for (size_t i = 0; i < x.size(); ++i) {
    double scale = core::power(std::max<double>(x[i], 1e-20), ratio);
    if (weight_ratio > 0) scale /= core::power(std::max<double>(w[i], 1e-20), weight_ratio) + kSmallest;
    scales.push_back(std::max(scale, kSmallest));
  }
  const auto [smallest, largest] = std::minmax_element(scales.begin(), scales.end());
  const double norm = std::sqrt(*smallest * *largest);
  std::vector<float> result;
  for (const double scale : scales) result.push_back(static_cast<float>(scale / norm));
  return result;
}

/// What rounding makes of a row with scaled columns, minus the row.
void rounding_error(const float* weights, std::span<const float> scales, int group_size, Zero zero,
                    std::vector<float>& scaled, float* delta) {
  const auto width = static_cast<int64_t>(scales.size());
  for (int64_t i = 0; i < width; ++i) scaled[i] = weights[i] * scales[i];
  for (int64_t first = 0; first < width; first += group_size) {
    const Grid grid = make_grid(&scaled[first], group_size, zero);
    for (int64_t i = first; i < first + group_size; ++i) {
      delta[i] = grid.rounded(scaled[i]) / scales[i] - weights[i];
    }
  }
}

double sampled_loss(const ScaleGroup& group, const QuadraticForm& form, std::span<const float> scales, int group_size,
                    int64_t row_step, core::ThreadPool& pool) {
  const auto width = static_cast<int64_t>(scales.size());
  std::vector<const float*> rows;
  for (const Matrix* weights : group.weights) {
    for (int64_t row = 0; row < weights->rows; row += row_step) rows.push_back(weights->row(row));
  }
  const auto make = [&](int64_t first, Matrix& deltas) {
    std::vector<float> scaled(static_cast<size_t>(width));
    for (int64_t i = 0; i < deltas.rows; ++i) {
      rounding_error(rows[first + i], scales, group_size, group.zero, scaled, deltas.row(i));
    }
  };
  return form.sum(std::ssize(rows), make, pool);
}

}  // namespace

double candidates_of_search(double rows, double width) {
  const int64_t row_step = row_step_of(rows, width);
  // The identity, both kinds of ratio less the one that they share, two for each refinement; then the two of a sample
  // in full.
  const int candidates = 2 * kRatios / first_step_of(row_step) + (row_step > 1 ? 6 : 4);
  return candidates / static_cast<double>(row_step) + (row_step > 1 ? 2 : 0);
}

double rounding_loss(const ScaleGroup& group, std::span<const float> scales, int group_size, int64_t row_step,
                     core::ThreadPool& pool) {
  return sampled_loss(group, QuadraticForm(*group.gram, pool), scales, group_size, row_step, pool);
}

std::vector<double> rounding_loss_by_input(const ScaleGroup& group, std::span<const float> scales, int group_size,
                                           core::ThreadPool& pool) {
  const auto width = static_cast<int64_t>(scales.size());
  std::vector<double> losses(static_cast<size_t>(width));
  Matrix deltas(kRowBlock, width);
  for (const Matrix* weights : group.weights) {
    for (int64_t first = 0; first < weights->rows; first += kRowBlock) {
      const int64_t count = std::min(kRowBlock, weights->rows - first);
      pool.split(count, [&](int64_t begin, int64_t end) {
        std::vector<float> scaled(static_cast<size_t>(width));
        for (int64_t i = begin; i < end; ++i) {
          rounding_error(weights->row(first + i), scales, group_size, group.zero, scaled, deltas.row(i));
        }
      });
      for (int64_t row = 0; row < count; ++row) {
        for (int64_t i = 0; i < width; ++i) losses[i] += double{deltas.row(row)[i]} * deltas.row(row)[i];
      }
    }
  }
  for (int64_t i = 0; i < width; ++i) losses[i] *= group.gram->row(i)[i];
  return losses;
}

ScaleChoice search_scales(const ScaleGroup& group, int group_size, core::ThreadPool& pool) {
  const int64_t width = group.gram->columns;
  int64_t rows = 0;
  for (const Matrix* weights : group.weights) rows += weights->rows;
  const int64_t row_step = row_step_of(static_cast<double>(rows), static_cast<double>(width));
  const int first_step = first_step_of(row_step);
  const QuadraticForm form(*group.gram, pool);

  ScaleChoice identity;
  identity.scales.assign(static_cast<size_t>(width), 1.0f);
  identity.candidate = "identity";
  identity.loss = sampled_loss(group, form, identity.scales, group_size, row_step, pool);
  ScaleChoice best = identity;

  std::vector<float> x(group.mean_magnitudes.begin(), group.mean_magnitudes.end());
  std::vector<float> w = relative_magnitudes(group, group_size);
  tie_heads(group, x);
  tie_heads(group, w);
  bool best_has_weights = false;
  double best_ratio = 0;
  const auto try_ratio = [&](bool with_weights, double ratio) {
    std::vector<float> scales = make_scales(x, w, ratio, with_weights ? 1 - ratio : 0);
    const double loss = sampled_loss(group, form, scales, group_size, row_step, pool);
    if (!(loss < best.loss)) return;
    best_has_weights = with_weights;
    best_ratio = ratio;
    best.loss = loss;
    best.scales = std::move(scales);
    best.candidate = with_weights ? fmt::format("x^{:g} / w^{:g}", ratio, 1 - ratio) : fmt::format("x^{:g}", ratio);
  };
  for (const bool with_weights : {false, true}) {
    for (int i = first_step; i <= kRatios; i += first_step) {
      if (with_weights && i == kRatios) continue;  // x^1 / w^0 was tried
      try_ratio(with_weights, static_cast<double>(i) / kRatios);
    }
  }
  if (best_ratio == 0) best_ratio = 1.0 / kRatios;
  for (double step = 0.5 * first_step / kRatios; step > 0.2 / kRatios; step /= 2) {
    const double centre = best_ratio;
    for (const double ratio : {centre - step, centre + step}) {
      if (ratio > 0 && ratio < 1) try_ratio(best_has_weights, ratio);
    }
  }
  if (row_step > 1) {
    best.loss = sampled_loss(group, form, best.scales, group_size, 1, pool);
    identity.loss = sampled_loss(group, form, identity.scales, group_size, 1, pool);
    if (!(best.loss < identity.loss)) best = identity;
  }
  best.identity_loss = identity.loss;
  return best;
}

}  // namespace salient::quantize
