#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "core/thread_pool.h"
#include "quantize/matrix.h"

namespace salient::quantize {

/// What calibration keeps of the inputs X [tokens, width] of a linear: H = X^T X / tokens, of which every error of
/// interest is a quadratic form, ||X (W - W')^T||^2 / tokens = sum over rows d of W - W' of d H d^T; and the mean of
/// |x| per input. Exact over all tokens, in memory that does not depend on their number.
class GramAccumulator {
 public:
  GramAccumulator(int64_t width, core::ThreadPool& pool);

  /// Adds inputs [tokens, width].
  void add(const float* x, int64_t tokens);

  int64_t tokens() const { return tokens_; }
  /// H, symmetric.
  Matrix gram() const;
  std::vector<float> mean_magnitudes() const;

 private:
  int64_t width_;
  core::ThreadPool& pool_;
  int64_t tokens_ = 0;
  core::Buffer<float> sums_;  ///< [width, width]; only the part below the diagonal's blocks, and these, are used
  std::vector<double> magnitudes_;
  core::Buffer<float> transposed_;  ///< [width, kChunk]
  core::Buffer<float> tiles_;       ///< X in tiles of 16 inputs
};

/// The quadratic form of a symmetric matrix, packed for fast evaluation on many vectors.
class QuadraticForm {
 public:
  /// Of the block of `matrix` that starts at (first, first) and has `size` rows and columns.
  QuadraticForm(const Matrix& matrix, int64_t first, int64_t size);

  /// losses[i] = d_i H d_i^T for rows d_i of [rows, size], `stride` numbers apart. `scratch` is [rows, size].
  void evaluate(const float* deltas, int64_t rows, int64_t stride, float* scratch, double* losses) const;

 private:
  int64_t size_;
  core::Buffer<float> tiles_;
};

}  // namespace salient::quantize
