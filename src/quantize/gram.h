#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "core/thread_pool.h"
#include "quantize/matrix.h"

namespace salient::quantize {

/// What calibration keeps of the inputs X [tokens, width] of a linear: H = X^T X / tokens, of which every error of
/// interest is a quadratic form, ||X (W - W')^T||^2 / tokens = sum over rows d of W - W' of d H d^T; and the mean of
/// |x| per input. Exact over all tokens, in memory that does not depend on their number.
///
/// Where the inputs are those behind a quantized part of the model, it also keeps how far they are from the inputs X0
/// of the unquantized model: D = (X0 - X)^T X / tokens.
class GramAccumulator {
 public:
  enum class Drift { kNone, kKept };

  GramAccumulator(int64_t width, Drift drift, core::ThreadPool& pool);

  /// Adds inputs [tokens, width], and with Drift::kKept the same tokens' inputs in the unquantized model.
  void add(const float* x, const float* unquantized, int64_t tokens);

  int64_t tokens() const { return tokens_; }
  /// H, symmetric.
  Matrix gram() const;
  /// D; of no rows with Drift::kNone.
  Matrix drift() const;
  std::vector<float> mean_magnitudes() const;

 private:
  int64_t width_;
  core::ThreadPool& pool_;
  int64_t tokens_ = 0;
  core::Buffer<float> sums_;        ///< [width, width]; only the part below the diagonal's blocks, and these, are used
  core::Buffer<float> drift_sums_;  ///< [width, width], or empty
  std::vector<double> magnitudes_;
  core::Buffer<float> transposed_;        ///< [width, kChunk]
  core::Buffer<float> drift_transposed_;  ///< [width, kChunk], or empty
  core::Buffer<float> tiles_;             ///< X in tiles of 16 inputs
};

/// Makes a Gram matrix tell less of its own text and more of texts in general: takes `shrinkage` of every element off
/// the diagonal, then adds `damping` of the mean of the diagonal to it.
void regularize_gram(Matrix& gram, float shrinkage, float damping);

/// How many directions a Gram matrix is spread over: the participation ratio of its eigenvalues, their sum squared by
/// the sum of their squares, which is tr(H)^2 / ||H||^2 and so needs none of them (Gao et al., "A theory of
/// multineuronal dimensionality", 2017). It is that of H with every input scaled to a mean square of 1, so that the few
/// inputs that are hundreds of times larger than others do not stand for all. From 1 to the number of inputs, and at
/// most the number of tokens; 0 for a matrix of zeros.
double effective_rank(const Matrix& gram);

}  // namespace salient::quantize
