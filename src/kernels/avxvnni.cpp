#if defined(__x86_64__)

#include "kernels/avx2_vector.h"

namespace salient::kernels {

namespace {

/// AVX2 with the dot product of AVX-VNNI, which takes unsigned codes and adds four products into int32.
struct AvxVnni : Avx2Vector {
  // 8 accumulators, 4 registers of codes, 1 of activations.
  static constexpr int kQuantizedTokens = 4;
  static constexpr int kQuantizedTiles = 1;
  static constexpr int kLoneTokenTiles = 4;
  static constexpr int kCodeBias = 0;

  static Int accumulate(Int sum, Codes low, Codes high, const int8_t* values) {
    return accumulate(accumulate(sum, low, values), high, values + 4);
  }
  static Codes load_codes(const uint8_t* line) { return {load_256(line), load_256(line + 32)}; }
  static Int accumulate(Int sum, Codes codes, const int8_t* values) {
    const __m256i four = broadcast_four(values);
    return {_mm256_dpbusd_avx_epi32(sum.a, codes.a, four), _mm256_dpbusd_avx_epi32(sum.b, codes.b, four)};
  }
};

}  // namespace

const KernelSet kAvxVnniKernels = make_kernel_set<AvxVnni>("avxvnni");

}  // namespace salient::kernels

#endif
