#pragma once

#include <cstdint>
#include <vector>

#include "core/thread_pool.h"
#include "quantize/matrix.h"

namespace salient::quantize {

/// A Gram matrix with damping, H + d I, its inputs sorted from the smallest diagonal element to the largest, as the
/// product of a lower triangular matrix and its transpose: what error compensation and least squares need of it.
struct DampedFactor {
  std::vector<int32_t> order;  ///< row i of the factor is input order[i]
  Matrix lower;                ///< zero above the diagonal
};

/// The factor of H + damping * mean(diagonal of H) * I. Where rounding leaves that without one, damping is raised
/// tenfold until there is. Throws invalid_input when H is not finite.
DampedFactor factor_gram(const Matrix& gram, float damping, core::ThreadPool& pool);

/// Replaces each row b of `rows` by the solution x of x (L L^T) = b.
void solve_rows(const Matrix& lower, Matrix& rows, core::ThreadPool& pool);

}  // namespace salient::quantize
