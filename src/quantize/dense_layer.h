#pragma once

#include <span>
#include <vector>

#include "core/thread_pool.h"
#include "model/decoder.h"
#include "quantize/matrix.h"

namespace salient::quantize {

/// A linear in fp32, and what reports call it.
struct DenseLinear {
  const char* name;
  Matrix weights;
  std::vector<float> bias;
};

/// One decoder layer in fp32, to be scaled and rounded.
struct DenseLayer {
  DenseLayer(const model::DecoderLayer& layer, core::ThreadPool& pool);

  model::LayerNorms norms;
  DenseLinear query{"query", {}, {}};
  DenseLinear key{"key", {}, {}};
  DenseLinear value{"value", {}, {}};
  DenseLinear output{"output", {}, {}};
  DenseLinear gate{"gate", {}, {}};  ///< of no rows where the MLP is not gated
  DenseLinear up{"up", {}, {}};
  DenseLinear down{"down", {}, {}};

  /// The linears in the order of model::linear_slots.
  std::vector<DenseLinear*> linears();
};

/// Divides a norm's weights (and biases) by the scales of the linears behind it and multiplies their columns. What is
/// stored of a norm, the weight less `offset`, is stored in fp16, so the columns get the quotient of the old and the
/// rounded new weight: the function stays what it was. `scales` becomes what was applied.
void scale_behind_norm(model::Norm& norm, float offset, std::span<DenseLinear* const> linears,
                       std::vector<float>& scales);

/// Divides the rows (and biases) of `before` and multiplies the columns of `after`. Column i of `after` reads row
/// row_of(i) of `before`; columns that read the same row have the same scale.
template <typename RowOf>
void scale_behind_linear(DenseLinear& before, DenseLinear& after, std::span<const float> scales, RowOf row_of) {
  std::vector<float> row_scales(static_cast<size_t>(before.weights.rows), 1.0f);
  for (int64_t i = 0; i < after.weights.columns; ++i) row_scales[row_of(i)] = scales[i];
  for (int64_t row = 0; row < before.weights.rows; ++row) {
    for (int64_t i = 0; i < before.weights.columns; ++i) before.weights.row(row)[i] /= row_scales[row];
    if (!before.bias.empty()) before.bias[row] /= row_scales[row];
  }
  for (int64_t row = 0; row < after.weights.rows; ++row) {
    for (int64_t i = 0; i < after.weights.columns; ++i) after.weights.row(row)[i] *= scales[i];
  }
}

/// The Gram matrix of inputs that were divided by `scales`.
void divide_gram(Matrix& gram, std::span<const float> scales, core::ThreadPool& pool);

}  // namespace salient::quantize
