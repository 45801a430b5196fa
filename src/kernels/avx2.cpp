#if defined(__x86_64__)

#include "kernels/avx2_vector.h"

namespace salient::kernels {

namespace {

struct Avx2 : Avx2Vector {
  static constexpr int kQuantizedTokens = 2;
  static constexpr int kQuantizedTiles = 1;
  static constexpr int kLoneTokenTiles = 2;
  /// 8-bit codes are multiplied as signed numbers, code - 128: two products of 255 * 127 would not fit int16.
  static constexpr int kCodeBias = 128;

  /// Two products of at most 15 * 127 fit int16 four times over, so low and high are added before widening.
  static __m256i add_products(__m256i sum, __m256i low, __m256i high, __m256i low_values, __m256i high_values) {
    const __m256i pairs =
        _mm256_add_epi16(_mm256_maddubs_epi16(low, low_values), _mm256_maddubs_epi16(high, high_values));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static Int accumulate(Int sum, Codes low, Codes high, const int8_t* values) {
    const __m256i low_values = broadcast_four(values);
    const __m256i high_values = broadcast_four(values + 4);
    return {add_products(sum.a, low.a, high.a, low_values, high_values),
            add_products(sum.b, low.b, high.b, low_values, high_values)};
  }
  static Codes load_codes(const uint8_t* line) {
    const __m256i sign = _mm256_set1_epi8(-128);
    return {_mm256_xor_si256(load_256(line), sign), _mm256_xor_si256(load_256(line + 32), sign)};
  }
  /// |code| * (value with the code's sign): two products of at most 128 * 127 fit int16.
  static __m256i add_products(__m256i sum, __m256i codes, __m256i values) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(values, codes));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static Int accumulate(Int sum, Codes codes, const int8_t* values) {
    const __m256i all = broadcast_four(values);
    return {add_products(sum.a, codes.a, all), add_products(sum.b, codes.b, all)};
  }
};

}  // namespace

const KernelSet kAvx2Kernels = make_kernel_set<Avx2>("avx2");

}  // namespace salient::kernels

#endif
