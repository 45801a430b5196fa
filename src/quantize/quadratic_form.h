#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/quantized_tensor.h"
#include "core/thread_pool.h"
#include "quantize/matrix.h"
#include "quantize/tiles.h"

namespace salient::quantize {

/// The quadratic form of a symmetric matrix, packed for fast evaluation on many vectors. It multiplies with what is on
/// and above the diagonal's blocks only, since the rest would add the same again.
class QuadraticForm {
 public:
  QuadraticForm(const Matrix& matrix, core::ThreadPool& pool);

  /// losses[i] = d_i H d_i^T for rows d_i of [rows, size], `stride` numbers apart.
  void evaluate(const float* deltas, int64_t rows, int64_t stride, double* losses) const;

  /// Fills `deltas`, [count, size], with rows `first` to `first` + count.
  using MakeRows = std::function<void(int64_t first, Matrix& deltas)>;
  /// The sum of d H d^T over `rows` rows d, which `make` makes a few at a time, on the threads of the pool.
  double sum(int64_t rows, const MakeRows& make, core::ThreadPool& pool) const;

 private:
  int64_t size_;
  std::vector<Tiles> panels_;  ///< rows of H from a multiple of kPanel on, columns from there on, those off it doubled
};

/// The block that a group of inputs has on the diagonal of a symmetric matrix, packed to multiply many vectors with.
class GroupForm {
 public:
  /// Of the block of `matrix` that starts at (first, first) and has `size` rows and columns.
  GroupForm(const Matrix& matrix, int64_t first, int64_t size);

  /// losses[i] = d_i H d_i^T for rows d_i of [rows, size], `stride` numbers apart. `products`, [rows, size], becomes
  /// the rows d_i H.
  void evaluate(const float* deltas, int64_t rows, int64_t stride, float* products, double* losses) const;

 private:
  int64_t size_;
  Tiles tiles_;
};

/// A Gram matrix with its quadratic form, and those of the blocks that groups of inputs have on its diagonal.
struct GroupedForm {
  GroupedForm(Matrix gram_matrix, int group_size, core::ThreadPool& pool);

  Matrix gram;
  QuadraticForm whole;
  std::vector<GroupForm> groups;
};

/// The squared error of a linear's outputs: the sum over rows d of `rounded` - `target` of d H d^T.
double output_error(const Matrix& target, const core::QuantizedTensor& rounded, const QuadraticForm& form,
                    core::ThreadPool& pool);

}  // namespace salient::quantize
