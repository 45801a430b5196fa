#if defined(__aarch64__)

#include "kernels/neon_vector.h"

namespace salient::kernels {

namespace {

/// NEON with the matrix products of Armv8.6: one instruction multiplies 2 rows of 8 codes with 2 tokens of 8
/// activations, twice the work of a dot product. A lone token gains nothing from it.
struct NeonI8mm : NeonVector {
  static constexpr int kRowPairs = kLanes / 2;

  /// Codes of 8 columns: each register has two rows, one behind the other.
  struct RowPairs {
    int8x16_t rows[kRowPairs];
  };

  /// Rows 2i and 2i + 1 from registers of four rows of 4 columns each.
  static RowPairs interleave(const Four<int8x16_t>& low, const Four<int8x16_t>& high) {
    RowPairs pairs;
    const int8x16_t lows[] = {low.a, low.b, low.c, low.d};
    const int8x16_t highs[] = {high.a, high.b, high.c, high.d};
    for (int i = 0; i < 4; ++i) {
      const int32x4_t first = vreinterpretq_s32_s8(lows[i]);
      const int32x4_t second = vreinterpretq_s32_s8(highs[i]);
      pairs.rows[2 * i] = vreinterpretq_s8_s32(vzip1q_s32(first, second));
      pairs.rows[2 * i + 1] = vreinterpretq_s8_s32(vzip2q_s32(first, second));
    }
    return pairs;
  }

  template <int Bits>
  static RowPairs load_row_pairs(const uint8_t* codes, int column) {
    const uint8_t* line = codes + column * 2 * Bits;
    const Codes<Bits> first = load_codes<Bits>(line);
    if constexpr (Bits == 4) {
      return interleave(first.parts[0], first.parts[1]);
    } else {
      return interleave(first.parts[0], load_codes<Bits>(line + 64).parts[0]);
    }
  }

  /// Products of 2 rows and 2 tokens, in this order: row 0 with both tokens, row 1 with both tokens.
  struct PairSums {
    int32x4_t sums[kRowPairs];
  };

  static int32x4_t one_token(int32x4_t rows_01, int32x4_t rows_23, bool second) {
    return second ? vuzp2q_s32(rows_01, rows_23) : vuzp1q_s32(rows_01, rows_23);
  }
  static Int one_token(const PairSums& pairs, bool second) {
    const int32x4_t* sums = pairs.sums;
    return {one_token(sums[0], sums[1], second), one_token(sums[2], sums[3], second),
            one_token(sums[4], sums[5], second), one_token(sums[6], sums[7], second)};
  }

  template <int Bits, int Tokens, int Tiles>
  static void group_dots(const uint8_t* const* codes, int group_size, const int8_t* values, int64_t columns,
                         Int (*dots)[Tiles]) {
    constexpr int kTokenPairs = (Tokens + 1) / 2;
    PairSums sums[kTokenPairs][Tiles] = {};
    for (int column = 0; column < group_size; column += 8) {
      for (int i = 0; i < Tiles; ++i) {
        const RowPairs pairs = load_row_pairs<Bits>(codes[i], column);
        for (int p = 0; p < kTokenPairs; ++p) {
          // The last of an odd number of tokens is its own partner.
          const int second = 2 * p + 1 < Tokens ? 2 * p + 1 : 2 * p;
          const int8x16_t tokens =
              vcombine_s8(vld1_s8(values + 2 * p * columns + column), vld1_s8(values + second * columns + column));
          for (int r = 0; r < kRowPairs; ++r) {
            sums[p][i].sums[r] = vmmlaq_s32(sums[p][i].sums[r], pairs.rows[r], tokens);
          }
        }
      }
    }
    for (int t = 0; t < Tokens; ++t) {
      for (int i = 0; i < Tiles; ++i) dots[t][i] = add_int(dots[t][i], one_token(sums[t / 2][i], t % 2 == 1));
    }
  }
};

}  // namespace

const KernelSet kNeonI8mmKernels = make_kernel_set<NeonI8mm>("neon_i8mm");

}  // namespace salient::kernels

#endif
