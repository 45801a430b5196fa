#pragma once

#include <arm_neon.h>

#include "kernels/vector_attention.h"

namespace salient::kernels {

// A header whose class is another one in every file that includes it: two files compiled for different instructions
// may not share a function.
namespace {

/// What NEON with the dot products of Armv8.2 gives a vector class of vector_kernels.h. Sixteen lanes are four
/// registers; of a line of codes each holds four rows.
struct NeonVector {
  // 12 accumulators, 4 weight registers, 1 input. There are registers for more tokens, but gcc 12 then stores the sums
  // for every column.
  static constexpr int kDenseTokens = 3;
  static constexpr int kDenseTiles = 1;
  // 16 accumulators, 8 registers of codes, 1 of activations.
  static constexpr int kQuantizedTokens = 4;
  static constexpr int kQuantizedTiles = 1;
  /// 8-bit codes are multiplied as signed numbers, code - 128.
  static constexpr int kCodeBias = 128;
  static constexpr int kAttendRows = 2;
  static constexpr int kAttendBlocks = 2;

  template <typename Register>
  struct Four {
    Register a;
    Register b;
    Register c;
    Register d;
  };
  using Float = Four<float32x4_t>;
  using Int = Four<int32x4_t>;
  /// Of a line's codes of 4 columns each, four rows in every register.
  template <int Bits>
  struct Codes {
    Four<int8x16_t> parts[8 / Bits];
  };
  /// Not in every lane: the dot product picks four numbers of a register itself.
  template <int Bits>
  struct Inputs {
    int8x8_t values;
  };

  /// The same instruction for each of the four registers.
  template <typename Instruction, typename... Values>
  static auto each(Instruction instruction, Values... values) {
    return Four<decltype(instruction(values.a...))>{instruction(values.a...), instruction(values.b...),
                                                    instruction(values.c...), instruction(values.d...)};
  }

  static Float zero() { return broadcast(0.0f); }
  static Float broadcast(float x) {
    const float32x4_t all = vdupq_n_f32(x);
    return {all, all, all, all};
  }
  static Float load(const float* x) { return {vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}; }
  static void store(float* x, Float value) {
    vst1q_f32(x, value.a);
    vst1q_f32(x + 4, value.b);
    vst1q_f32(x + 8, value.c);
    vst1q_f32(x + 12, value.d);
  }
  static float32x4_t widen_half(const uint16_t* x) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x))); }
  static Float load_half(const uint16_t* x) {
    return {widen_half(x), widen_half(x + 4), widen_half(x + 8), widen_half(x + 12)};
  }
  static void store_half(uint16_t* x, Float value) {
    vst1_u16(x, vreinterpret_u16_f16(vcvt_f16_f32(value.a)));
    vst1_u16(x + 4, vreinterpret_u16_f16(vcvt_f16_f32(value.b)));
    vst1_u16(x + 8, vreinterpret_u16_f16(vcvt_f16_f32(value.c)));
    vst1_u16(x + 12, vreinterpret_u16_f16(vcvt_f16_f32(value.d)));
  }
  static float32x4_t widen_bfloat16(const uint16_t* x) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(x)), 16));
  }
  static Float load_bfloat16(const uint16_t* x) {
    return {widen_bfloat16(x), widen_bfloat16(x + 4), widen_bfloat16(x + 8), widen_bfloat16(x + 12)};
  }
  static Int widen(int16x8_t low, int16x8_t high) {
    return {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
  }
  static Float load_int8(const int8_t* x) {
    const int8x16_t bytes = vld1q_s8(x);
    return to_float(widen(vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)));
  }
  static Float add(Float x, Float y) {
    return each([](float32x4_t p, float32x4_t q) { return vaddq_f32(p, q); }, x, y);
  }
  static Float subtract(Float x, Float y) {
    return each([](float32x4_t p, float32x4_t q) { return vsubq_f32(p, q); }, x, y);
  }
  static Float multiply(Float x, Float y) {
    return each([](float32x4_t p, float32x4_t q) { return vmulq_f32(p, q); }, x, y);
  }
  static Float divide(Float x, Float y) {
    return each([](float32x4_t p, float32x4_t q) { return vdivq_f32(p, q); }, x, y);
  }
  static Float fma(Float x, Float y, Float z) {
    return each([](float32x4_t p, float32x4_t q, float32x4_t r) { return vfmaq_f32(r, p, q); }, x, y, z);
  }
  static Float negate(Float x) {
    return each([](float32x4_t p) { return vnegq_f32(p); }, x);
  }
  static Float absolute(Float x) {
    return each([](float32x4_t p) { return vabsq_f32(p); }, x);
  }
  /// Not the processor's own maximum, which makes a NaN of either operand the result.
  static float32x4_t larger(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
  static Float maximum(Float x, Float y) {
    return each([](float32x4_t p, float32x4_t q) { return larger(p, q); }, x, y);
  }
  static Float round(Float x) {
    return each([](float32x4_t p) { return vrndnq_f32(p); }, x);
  }
  static Float power_of_two(Float n) {
    return each(
        [](float32x4_t p) {
          return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(p), vdupq_n_s32(127)), 23));
        },
        n);
  }
  static Float zero_below(Float value, Float x, float limit) {
    const float32x4_t bound = vdupq_n_f32(limit);
    return each(
        [bound](float32x4_t p, float32x4_t q) {
          return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(p), vcgeq_f32(q, bound)));
        },
        value, x);
  }

  static float sum_lanes(Float x) {
    const float32x4_t four = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
  }
  static float max_lanes(Float x) {
    const float32x4_t four = larger(larger(x.a, x.c), larger(x.b, x.d));
    const float32x4_t two = larger(four, vextq_f32(four, four, 2));
    return vgetq_lane_f32(larger(two, vextq_f32(two, two, 1)), 0);
  }

  static Int int_broadcast(int32_t x) {
    const int32x4_t all = vdupq_n_s32(x);
    return {all, all, all, all};
  }
  static Int add_int(Int x, Int y) {
    return each([](int32x4_t p, int32x4_t q) { return vaddq_s32(p, q); }, x, y);
  }
  static Int load_int(const uint32_t* x) {
    return {vreinterpretq_s32_u32(vld1q_u32(x)), vreinterpretq_s32_u32(vld1q_u32(x + 4)),
            vreinterpretq_s32_u32(vld1q_u32(x + 8)), vreinterpretq_s32_u32(vld1q_u32(x + 12))};
  }
  static uint32_t sum_int(Int x) {
    return vaddvq_u32(vreinterpretq_u32_s32(vaddq_s32(vaddq_s32(x.a, x.b), vaddq_s32(x.c, x.d))));
  }
  static Int int_broadcast_multiply(const uint8_t* zeros, int32_t sum) {
    const uint8x16_t bytes = vld1q_u8(zeros);
    const Int wide =
        widen(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), vreinterpretq_s16_u16(vmovl_high_u8(bytes)));
    return each([sum](int32x4_t p) { return vmulq_n_s32(p, -sum); }, wide);
  }
  static Float to_float(Int x) {
    return each([](int32x4_t p) { return vcvtq_f32_s32(p); }, x);
  }
  static Four<uint8x16_t> load_line(const uint8_t* line) {
    return {vld1q_u8(line), vld1q_u8(line + 16), vld1q_u8(line + 32), vld1q_u8(line + 48)};
  }
  template <int Bits>
  static Codes<Bits> load_codes(const uint8_t* line) {
    const Four<uint8x16_t> bytes = load_line(line);
    if constexpr (Bits == 8) {
      return {{each([](uint8x16_t p) { return vreinterpretq_s8_u8(veorq_u8(p, vdupq_n_u8(128))); }, bytes)}};
    } else {
      return {{each([](uint8x16_t p) { return vreinterpretq_s8_u8(vandq_u8(p, vdupq_n_u8(15))); }, bytes),
               each([](uint8x16_t p) { return vreinterpretq_s8_u8(vshrq_n_u8(p, 4)); }, bytes)}};
    }
  }
  template <int Bits>
  static Inputs<Bits> load_inputs(const int8_t* values) {
    if constexpr (Bits == 4) {
      return {vld1_s8(values)};
    } else {
      int32_t four;
      __builtin_memcpy(&four, values, 4);
      return {vreinterpret_s8_s32(vdup_n_s32(four))};
    }
  }
  template <int Bits>
  static Int accumulate(Int sum, const Codes<Bits>& codes, const Inputs<Bits>& inputs) {
    const int8x8_t values = inputs.values;
    sum = each([values](int32x4_t s, int8x16_t p) { return vdotq_lane_s32(s, p, values, 0); }, sum, codes.parts[0]);
    if constexpr (Bits == 8)
      return sum;
    else
      return each([values](int32x4_t s, int8x16_t p) { return vdotq_lane_s32(s, p, values, 1); }, sum, codes.parts[1]);
  }
  static Int narrow_int8(Float integral, int8_t* out) {
    const Int wide = each([](float32x4_t p) { return vcvtq_s32_f32(p); }, integral);
    const int16x8_t low = vcombine_s16(vmovn_s32(wide.a), vmovn_s32(wide.b));
    const int16x8_t high = vcombine_s16(vmovn_s32(wide.c), vmovn_s32(wide.d));
    const int8x16_t bytes = vcombine_s8(vmovn_s16(low), vmovn_s16(high));
    vst1q_s8(out, bytes);
    return wide;
  }
};

}  // namespace

}  // namespace salient::kernels
