#include "kernels/log_sum_exp.h"

#include "core/math.h"
#include "kernels/kernels.h"

namespace salient::kernels {

float log_sum_exp(const float* x, int64_t size) {
  const float largest = active_kernels().maximum(x, size);
  return largest + static_cast<float>(core::log(active_kernels().sum_exp(x, size, largest)));
}

}  // namespace salient::kernels
