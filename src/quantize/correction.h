#pragma once

#include "core/thread_pool.h"
#include "quantize/cholesky.h"
#include "quantize/matrix.h"

namespace salient::quantize {

/// Weights that make up for inputs X which the quantized part of the model before them has moved away from the X0 of
/// the unquantized model. W + W D (H + d I)^-1, D = (X0 - X)^T X / tokens, has the least error ||X0 W^T - X W'^T||^2
/// (ridge regression; the aim is that of GPTAQ: Li et al., 2025). What is added is taken times `share`: on little text
/// the whole of it fits the text rather than the model.
Matrix correct_weights(const Matrix& weights, const Matrix& drift, const DampedFactor& factor, float share,
                       core::ThreadPool& pool);

}  // namespace salient::quantize
