#pragma once

#include <cstdint>

namespace salient::kernels {

/// log(sum of exp(x[i])), of `size` > 0 logits, through their maximum; the same bits on every instruction set.
float log_sum_exp(const float* x, int64_t size);

}  // namespace salient::kernels
