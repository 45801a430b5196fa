#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "quantize/matrix.h"
#include "quantize/rounding.h"

namespace salient::quantize {

/// Linears that read the same input and so share one scale per input.
struct ScaleGroup {
  std::vector<const Matrix*> weights;  ///< each [rows, width]
  const Matrix* gram = nullptr;        ///< [width, width]
  std::span<const float> mean_magnitudes;
  /// How many neighbouring heads of `head_dim` inputs must have the same scales; 1 where each input has its own.
  /// The output projection's inputs come from values that several query heads share.
  int64_t tied_heads = 1;
  int64_t head_dim = 1;
  Zero zero = Zero::kFree;  ///< of the grids that weights are rounded to
};

/// What the search found.
struct ScaleChoice {
  std::vector<float> scales;  ///< [width]; all 1 when nothing beat plain rounding
  std::string candidate;      ///< "identity", "x^0.35", "x^0.3625 / w^0.6375"
  double identity_loss = 0;   ///< of plain rounding
  double loss = 0;            ///< of the choice
};

/// AWQ's search (Lin et al., "AWQ", 2023, section 3.2): inputs that are large on average get finer steps, by scaling
/// their weights up before rounding and what feeds them down. The candidates are the identity, s = x^r, and s = x^r /
/// w^(1-r) for r = 0.05, 0.10 ... 1, then steps of a half and a quarter of that around the best, x the mean magnitude
/// of an input and w the mean of its weights relative to their group's largest; s is normalized to sqrt(max * min) = 1.
/// The loss is ||X (W - W')^T||^2 through the Gram matrix, on a sample of the rows where there are many; on all of them
/// the choice is never worse than the identity.
ScaleChoice search_scales(const ScaleGroup& group, int group_size, core::ThreadPool& pool);

/// How many times the search goes through all of the `rows` of a group: a sample of the rows counts for its share.
double candidates_of_search(double rows, double width);

/// sum over rows d of W' - W of d H d^T, where W' is what rounding W * scales makes of W. Only every `row_step`-th row
/// counts.
double rounding_loss(const ScaleGroup& group, std::span<const float> scales, int group_size, int64_t row_step,
                     core::ThreadPool& pool);

/// The part of that sum, over all rows, that is each input's own: d_i^2 H_ii.
std::vector<double> rounding_loss_by_input(const ScaleGroup& group, std::span<const float> scales, int group_size,
                                           core::ThreadPool& pool);

}  // namespace salient::quantize
