#if defined(__x86_64__)

#include "kernels/avx2_vector.h"

namespace salient::kernels {

namespace {

/// AVX2 with the dot product of AVX-VNNI, which takes unsigned codes and adds four products into int32.
struct AvxVnni : Avx2Vector {
  // 8 accumulators, 4 registers of codes, 2 of activations.
  static constexpr int kQuantizedTokens = 4;
  static constexpr int kQuantizedTiles = 1;
  static constexpr int kCodeBias = 0;

  /// gcc 12 copies the sum before and after the intrinsic.
  static void add_products(__m256i& sum, __m256i codes, __m256i values) {
#if defined(__GNUC__)
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(codes), "x"(values));
#else
    sum = _mm256_dpbusd_avx_epi32(sum, codes, values);
#endif
  }
  template <int Bits>
  static Int accumulate(Int sum, const Codes<Bits>& codes, const Inputs<Bits>& inputs) {
    for (int part = 0; part < 8 / Bits; ++part) {
      add_products(sum.a, codes.parts[part].a, inputs.parts[part]);
      add_products(sum.b, codes.parts[part].b, inputs.parts[part]);
    }
    return sum;
  }
};

}  // namespace

const KernelSet kAvxVnniKernels = make_kernel_set<AvxVnni>("avxvnni");

}  // namespace salient::kernels

#endif
