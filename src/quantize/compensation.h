#pragma once

#include <span>

#include "core/quantized_tensor.h"
#include "core/thread_pool.h"
#include "quantize/cholesky.h"
#include "quantize/matrix.h"
#include "quantize/rounding.h"

namespace salient::quantize {

/// Rounds a matrix column by column, the inputs with the largest diagonal of H first, each column moved by what makes
/// up best for the errors of those before it (GPTQ: Frantar et al., 2022; with grids [rows, groups] that are fixed
/// beforehand, so that columns keep their natural places). With H + d I = L L^T in the order of `factor`, the error
/// e H e^T of a row is the sum over k of (sum over i >= k of e_i L_ik)^2, so that from the last input to the first,
/// input k is best rounded from w_k + (sum over i > k of e_i L_ik) / L_kk, where e_i = w_i - w'_i (as in LDLQ: Chee et
/// al., "QuIP", 2023, which shows it to be the same).
core::QuantizedTensor compensate(const Matrix& weights, const DampedFactor& factor, std::span<const Grid> grids,
                                 int group_size, core::ThreadPool& pool);

}  // namespace salient::quantize
