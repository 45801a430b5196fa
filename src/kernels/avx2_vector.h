#pragma once

#include <immintrin.h>

#include "kernels/vector_attention.h"

namespace salient::kernels {

// A header whose class is another one in every file that includes it: two files compiled for different instructions
// may not share a function.
namespace {

/// What AVX2, FMA and F16C give a vector class of vector_kernels.h: all but the products with codes. Sixteen lanes are
/// two registers.
struct Avx2Vector {
  // 12 accumulators, 2 weight registers, 1 input.
  static constexpr int kDenseTokens = 6;
  static constexpr int kDenseTiles = 1;
  static constexpr int kAttendRows = 2;
  static constexpr int kAttendBlocks = 2;

  struct Float {
    __m256 a;
    __m256 b;
  };
  struct Int {
    __m256i a;
    __m256i b;
  };
  template <int Bits>
  struct Codes {
    Int parts[8 / Bits];
  };
  template <int Bits>
  struct Inputs {
    __m256i parts[8 / Bits];
  };

  static Float zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Float broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Float load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
  static void store(float* x, Float value) {
    _mm256_storeu_ps(x, value.a);
    _mm256_storeu_ps(x + 8, value.b);
  }
  static __m128i load_128(const void* x) { return _mm_loadu_si128(static_cast<const __m128i*>(x)); }
  static __m256i load_256(const void* x) { return _mm256_loadu_si256(static_cast<const __m256i*>(x)); }
  static Float load_half(const uint16_t* x) { return {_mm256_cvtph_ps(load_128(x)), _mm256_cvtph_ps(load_128(x + 8))}; }
  static void store_half(uint16_t* x, Float value) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(x), _mm256_cvtps_ph(value.a, kMode));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(x + 8), _mm256_cvtps_ph(value.b, kMode));
  }
  static __m256 widen_bfloat16(const uint16_t* x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(x)), 16));
  }
  static Float load_bfloat16(const uint16_t* x) { return {widen_bfloat16(x), widen_bfloat16(x + 8)}; }
  static __m256 widen_int8(const int8_t* x) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
  }
  static Float load_int8(const int8_t* x) { return {widen_int8(x), widen_int8(x + 8)}; }
  static Float add(Float x, Float y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static Float subtract(Float x, Float y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
  static Float multiply(Float x, Float y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static Float divide(Float x, Float y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
  static Float fma(Float x, Float y, Float z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }
  static Float negate(Float x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign)};
  }
  static Float absolute(Float x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
  }
  static Float maximum(Float x, Float y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
  static Float round(Float x) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, kMode), _mm256_round_ps(x.b, kMode)};
  }
  static __m256 half_power_of_two(__m256 n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }
  static Float power_of_two(Float n) { return {half_power_of_two(n.a), half_power_of_two(n.b)}; }
  static Float zero_below(Float value, Float x, float limit) {
    const __m256 bound = _mm256_set1_ps(limit);
    return {_mm256_and_ps(value.a, _mm256_cmp_ps(x.a, bound, _CMP_GE_OQ)),
            _mm256_and_ps(value.b, _mm256_cmp_ps(x.b, bound, _CMP_GE_OQ))};
  }

  static Int int_broadcast(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static Int add_int(Int x, Int y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
  static Int load_int(const uint32_t* x) { return {load_256(x), load_256(x + 8)}; }
  static uint32_t sum_int(Int x) {
    uint32_t lanes[8];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), _mm256_add_epi32(x.a, x.b));
    uint32_t sum = 0;
    for (const uint32_t lane : lanes) sum += lane;
    return sum;
  }
  static Int int_broadcast_multiply(const uint8_t* zeros, int32_t sum) {
    const __m128i bytes = load_128(zeros);
    const __m256i factor = _mm256_set1_epi32(-sum);
    return {_mm256_madd_epi16(_mm256_cvtepu8_epi32(bytes), factor),
            _mm256_madd_epi16(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)), factor)};
  }
  static Float to_float(Int x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
  template <int Bits>
  static Codes<Bits> load_codes(const uint8_t* line) {
    const __m256i a = load_256(line);
    const __m256i b = load_256(line + 32);
    if constexpr (Bits == 8) {
      return {{{a, b}}};
    } else {
      const __m256i mask = _mm256_set1_epi8(15);
      return {{{_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)},
               {_mm256_and_si256(_mm256_srli_epi16(a, 4), mask), _mm256_and_si256(_mm256_srli_epi16(b, 4), mask)}}};
    }
  }
  template <int Bits>
  static Inputs<Bits> load_inputs(const int8_t* values) {
    Inputs<Bits> inputs;
    for (int part = 0; part < 8 / Bits; ++part) {
      int32_t four;
      __builtin_memcpy(&four, values + 4 * part, 4);
      inputs.parts[part] = _mm256_set1_epi32(four);
    }
    return inputs;
  }
  static Int narrow_int8(Float integral, int8_t* out) {
    const Int wide = {_mm256_cvtps_epi32(integral.a), _mm256_cvtps_epi32(integral.b)};
    // Packing works in halves of a register: the quarters come out as 0, 2, 1, 3.
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(wide.a, wide.b), 0b11011000);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    return wide;
  }
};

}  // namespace

}  // namespace salient::kernels
