#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/vector_attention.h"

namespace salient::kernels {

namespace {

/// Sixteen lanes are two registers.
struct Avx2 {
  // 12 accumulators, 2 weight registers, 1 input.
  static constexpr int kDenseTokens = 6;
  static constexpr int kDenseTiles = 1;
  static constexpr int kQuantizedTokens = 2;
  static constexpr int kQuantizedTiles = 1;
  /// 8-bit codes are multiplied as signed numbers, code - 128: two products of 255 * 127 would not fit int16.
  static constexpr int kCodeBias = 128;
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
      const __m256i sign = _mm256_set1_epi8(-128);
      return {{{_mm256_xor_si256(a, sign), _mm256_xor_si256(b, sign)}}};
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
  static __m256i add_pairs(__m256i sum, __m256i pairs) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  /// Two products of at most 15 * 127 fit int16 four times over, so low and high are added before widening.
  static Int accumulate(Int sum, const Codes<4>& codes, const Inputs<4>& inputs) {
    const auto pairs = [&](__m256i low, __m256i high) {
      return _mm256_add_epi16(_mm256_maddubs_epi16(low, inputs.parts[0]), _mm256_maddubs_epi16(high, inputs.parts[1]));
    };
    return {add_pairs(sum.a, pairs(codes.parts[0].a, codes.parts[1].a)),
            add_pairs(sum.b, pairs(codes.parts[0].b, codes.parts[1].b))};
  }
  /// |code| * (value with the code's sign): two products of at most 128 * 127 fit int16.
  static Int accumulate(Int sum, const Codes<8>& codes, const Inputs<8>& inputs) {
    const auto pairs = [&](__m256i numbers) {
      return _mm256_maddubs_epi16(_mm256_abs_epi8(numbers), _mm256_sign_epi8(inputs.parts[0], numbers));
    };
    return {add_pairs(sum.a, pairs(codes.parts[0].a)), add_pairs(sum.b, pairs(codes.parts[0].b))};
  }
  static int32_t narrow_int8(Float integral, int8_t* out) {
    float lanes[kLanes];
    store(lanes, integral);
    int32_t sum = 0;
    for (int i = 0; i < kLanes; ++i) {
      out[i] = static_cast<int8_t>(lanes[i]);
      sum += out[i];
    }
    return sum;
  }
};

}  // namespace

const KernelSet kAvx2Kernels = make_kernel_set<Avx2>("avx2");

}  // namespace salient::kernels

#endif
