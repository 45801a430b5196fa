#include "core/cpu_features.h"

#include <algorithm>
#include <initializer_list>

#include "core/os.h"

// Behind the others: it has a macro by the name of a function that Microsoft's headers declare.
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace salient::core {

#if defined(__x86_64__)
namespace {

/// What the CPU says of itself, by Intel's and AMD's manuals. Zeros for a leaf that it does not have.
struct Cpuid {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;

  Cpuid(unsigned leaf, unsigned subleaf) { __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
};

constexpr bool has_bits(unsigned word, std::initializer_list<int> bits) {
  return std::all_of(bits.begin(), bits.end(), [&](int bit) { return (word >> bit & 1) != 0; });
}

/// The register XCR0: what the operating system saves when it changes threads. It may only be read where CPUID says
/// that the system uses it.
unsigned saved_state() {
  unsigned low = 0;
  unsigned high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

/// Not by __builtin_cpu_supports: clang has it in a library that Microsoft's linker is not given.
CpuFeatures x86_features() {
  CpuFeatures found;
  const Cpuid basic(1, 0);
  constexpr int kFma = 12;
  constexpr int kSystemUsesXcr0 = 27;
  constexpr int kAvx = 28;
  constexpr int kF16c = 29;
  if (!has_bits(basic.ecx, {kFma, kSystemUsesXcr0, kAvx, kF16c})) return found;
  const unsigned saved = saved_state();
  const Cpuid extended(7, 0);
  constexpr int kAvx2 = 5;
  found.avx2_fma_f16c = has_bits(saved, {1, 2}) && has_bits(extended.ebx, {kAvx2});  // SSE's and AVX's registers
  if (!found.avx2_fma_f16c) return found;
  constexpr int kAvxVnni = 4;
  found.avx_vnni = extended.eax >= 1 && has_bits(Cpuid(7, 1).eax, {kAvxVnni});
  const bool saves_avx512 = has_bits(saved, {5, 6, 7});  // masks, upper halves of registers 0 to 15, registers 16 to 31
  constexpr int kFoundation = 16;
  constexpr int kDoublewords = 17;
  constexpr int kBytesAndWords = 30;
  constexpr int kShorterVectors = 31;
  constexpr int kVnni = 11;
  found.avx512_vnni = saves_avx512 &&
                      has_bits(extended.ebx, {kFoundation, kDoublewords, kBytesAndWords, kShorterVectors}) &&
                      has_bits(extended.ecx, {kVnni});
  return found;
}

}  // namespace
#endif

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = [] {
    CpuFeatures found;
#if defined(__x86_64__)
    found = x86_features();
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
