#if defined(__x86_64__)

#include "kernels/avx2_vector.h"

namespace salient::kernels {

namespace {

struct Avx2 : Avx2Vector {
  static constexpr int kQuantizedTokens = 4;
  static constexpr int kQuantizedTiles = 1;
  /// 8-bit codes are multiplied as signed numbers, code - 128: two products of 255 * 127 would not fit int16.
  static constexpr int kCodeBias = 128;

  template <int Bits>
  static Codes<Bits> load_codes(const uint8_t* line) {
    Codes<Bits> codes = Avx2Vector::load_codes<Bits>(line);
    if constexpr (Bits == 8) {
      const __m256i sign = _mm256_set1_epi8(-128);
      codes.parts[0] = {_mm256_xor_si256(codes.parts[0].a, sign), _mm256_xor_si256(codes.parts[0].b, sign)};
    }
    return codes;
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
};

}  // namespace

const KernelSet kAvx2Kernels = make_kernel_set<Avx2>("avx2");

}  // namespace salient::kernels

#endif
