#include "core/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core/os.h"

namespace salient::core {

#if defined(__x86_64__)
namespace {

/// Not every compiler's __builtin_cpu_supports knows it.
bool has_avx_vnni() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kAvxVnni = 1u << 4;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & kAvxVnni) != 0;
}

}  // namespace
#endif

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = [] {
    CpuFeatures found;
#if defined(__x86_64__)
    // The compiler's run-time library checks the operating system's side (XCR0) too.
    __builtin_cpu_init();
    found.avx2_fma_f16c =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    found.avx_vnni = found.avx2_fma_f16c && has_avx_vnni();
    found.avx512_vnni = found.avx2_fma_f16c && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
#elif defined(__aarch64__)
    const os::ArmExtensions extensions = os::arm_extensions();
    found.neon_dotprod = extensions.dot_product;
    found.neon_i8mm = extensions.dot_product && extensions.int8_matrices;
#endif
    return found;
  }();
  return features;
}

}  // namespace salient::core
