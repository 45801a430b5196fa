#if defined(__aarch64__)

#include "kernels/neon_vector.h"

namespace salient::kernels {

const KernelSet kNeonDotprodKernels = make_kernel_set<NeonVector>("neon_dotprod");

}  // namespace salient::kernels

#endif
