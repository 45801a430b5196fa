// MinGW-w64's fma and fmaf round twice, so that logits would differ from those of other systems. These take their
// place: the linker finds them first.
#include "core/cpu_features.h"
#include "core/exact_fma.h"

namespace {

__attribute__((target("fma"))) double fused(double a, double b, double c) {
  return __builtin_fma(a, b, c);
}
__attribute__((target("fma"))) float fused(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}

template <typename Number>
Number choose(Number a, Number b, Number c) {
  static const bool has_instruction = salient::core::cpu_features().avx2_fma_f16c;
  return has_instruction ? fused(a, b, c) : salient::core::exact_fma(a, b, c);
}

}  // namespace

extern "C" double fma(double a, double b, double c) {
  return choose(a, b, c);
}

extern "C" float fmaf(float a, float b, float c) {
  return choose(a, b, c);
}
