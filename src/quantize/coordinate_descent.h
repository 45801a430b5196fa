#pragma once

#include "core/quantized_tensor.h"
#include "core/thread_pool.h"
#include "quantize/matrix.h"
#include "quantize/quadratic_form.h"

namespace salient::quantize {

/// Lowers the squared error of the outputs, the sum over rows d of `rounded` - `target` of d H d^T, by moving one
/// number at a time to where it is least: in each sweep, group after group, the group's scale (to the fp16 number
/// nearest to its least-squares fit), then each of its codes. No step raises the error.
void descend(const Matrix& target, const GroupedForm& form, int sweeps, core::QuantizedTensor& rounded,
             core::ThreadPool& pool);

}  // namespace salient::quantize
