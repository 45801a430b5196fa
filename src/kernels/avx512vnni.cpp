#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/vector_attention.h"

namespace salient::kernels {

namespace {

struct Avx512Vnni {
  // 24 accumulators, 4 weight registers, 1 input.
  static constexpr int kDenseTokens = 6;
  static constexpr int kDenseTiles = 4;
  static constexpr int kQuantizedTokens = 4;
  static constexpr int kQuantizedTiles = 4;
  static constexpr int kCodeBias = 0;
  static constexpr int kAttendRows = 6;
  static constexpr int kAttendBlocks = 4;

  using Float = __m512;
  using Int = __m512i;
  template <int Bits>
  struct Codes {
    __m512i parts[8 / Bits];
  };
  template <int Bits>
  struct Inputs {
    __m512i parts[8 / Bits];
  };

  static Float zero() { return _mm512_setzero_ps(); }
  static Float broadcast(float x) { return _mm512_set1_ps(x); }
  static Float load(const float* x) { return _mm512_loadu_ps(x); }
  static void store(float* x, Float value) { _mm512_storeu_ps(x, value); }
  static Float load_half(const uint16_t* x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  }
  static void store_half(uint16_t* x, Float value) {
    const __m256i halves = _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(x), halves);
  }
  static Float load_bfloat16(const uint16_t* x) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  static Float load_int8(const int8_t* x) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
  }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float subtract(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float divide(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float negate(Float a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
  static Float absolute(Float a) { return _mm512_abs_ps(a); }
  static Float maximum(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Float round(Float a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Float power_of_two(Float n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
  }
  static Float zero_below(Float value, Float x, float limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_GE_OQ), value);
  }

  static float sum_lanes(Float a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float max_lanes(Float a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static Int int_broadcast(int32_t x) { return _mm512_set1_epi32(x); }
  static Int add_int(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int load_int(const uint32_t* x) { return _mm512_loadu_si512(x); }
  /// Modulo 2^32, which the compiler's own reduction does not promise.
  static uint32_t sum_int(Int x) {
    uint32_t lanes[kLanes];
    _mm512_storeu_si512(lanes, x);
    uint32_t sum = 0;
    for (const uint32_t lane : lanes) sum += lane;
    return sum;
  }
  static Int int_broadcast_multiply(const uint8_t* zeros, int32_t sum) {
    const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(zeros)));
    return _mm512_madd_epi16(wide, _mm512_set1_epi32(-sum));
  }
  static Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
  template <int Bits>
  static Codes<Bits> load_codes(const uint8_t* line) {
    const __m512i bytes = _mm512_loadu_si512(line);
    if constexpr (Bits == 8) {
      return {{bytes}};
    } else {
      const __m512i mask = _mm512_set1_epi8(15);
      return {{_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask)}};
    }
  }
  template <int Bits>
  static Inputs<Bits> load_inputs(const int8_t* values) {
    Inputs<Bits> inputs;
    for (int part = 0; part < 8 / Bits; ++part) {
      int32_t four;
      __builtin_memcpy(&four, values + 4 * part, 4);
      inputs.parts[part] = _mm512_set1_epi32(four);
    }
    return inputs;
  }
  /// gcc 12 copies the sum before and after the intrinsic, which costs a fifth of the speed.
  static void add_products(Int& sum, __m512i codes, __m512i values) {
#if defined(__GNUC__)
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(values));
#else
    sum = _mm512_dpbusd_epi32(sum, codes, values);
#endif
  }
  template <int Bits>
  static Int accumulate(Int sum, const Codes<Bits>& codes, const Inputs<Bits>& inputs) {
    for (int part = 0; part < 8 / Bits; ++part) add_products(sum, codes.parts[part], inputs.parts[part]);
    return sum;
  }
  static Int narrow_int8(Float integral, int8_t* out) {
    const __m512i wide = _mm512_cvtps_epi32(integral);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(wide));
    return wide;
  }
};

}  // namespace

const KernelSet kAvx512VnniKernels = make_kernel_set<Avx512Vnni>("avx512vnni");

}  // namespace salient::kernels

#endif
