#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace salient::core {
namespace {

constexpr uint16_t kHalfInfinity = 0x7c00;
constexpr uint16_t kBfloat16Infinity = 0x7f80;

/// What IEEE 754 says a binary16 number is.
float half_by_definition(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

TEST(Half, BecomesTheFloatThatItStandsFor) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if ((half & 0x7fff) >= kHalfInfinity) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(half_to_float(half)), std::bit_cast<uint32_t>(half_by_definition(half))) << bits;
  }
  EXPECT_EQ(half_to_float(kHalfInfinity), std::numeric_limits<float>::infinity());
  EXPECT_EQ(half_to_float(0xfc00), -std::numeric_limits<float>::infinity());
}

TEST(Half, ComesBackFromItsFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = half_to_float(half);
    if ((half & 0x7fff) > kHalfInfinity) {
      ASSERT_TRUE(std::isnan(value));
      ASSERT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), half);
    }
  }
}

TEST(Half, IsTheNearestOneWithTiesToEven) {
  for (uint16_t half = 0; half < 0x7bff; ++half) {
    const auto next = static_cast<uint16_t>(half + 1);
    const float middle = (half_to_float(half) + half_to_float(next)) / 2;  // exact in fp32
    const uint16_t even = half % 2 == 0 ? half : next;
    ASSERT_EQ(float_to_half(middle), even) << middle;
    ASSERT_EQ(float_to_half(-middle), even | 0x8000) << -middle;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), half) << middle;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), next) << middle;
  }
}

TEST(Half, IsInfiniteFrom65520) {
  EXPECT_EQ(float_to_half(65504.0f), 0x7bff);
  EXPECT_EQ(float_to_half(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), kHalfInfinity);
  EXPECT_EQ(float_to_half(-65520.0f), 0xfc00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::max()), kHalfInfinity);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::infinity()), kHalfInfinity);
}

TEST(Half, KeepsTheSignOfZero) {
  EXPECT_EQ(float_to_half(0.0f), 0);
  EXPECT_EQ(float_to_half(-0.0f), 0x8000);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(float_to_half(-std::numeric_limits<float>::denorm_min()), 0x8000);
}

TEST(Bfloat16, IsTheUpperHalfOfAFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = bfloat16_to_float(static_cast<uint16_t>(bits));
    ASSERT_EQ(std::bit_cast<uint32_t>(value), bits << 16);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(value))));
    } else {
      ASSERT_EQ(float_to_bfloat16(value), bits);
    }
  }
}

TEST(Bfloat16, IsTheNearestOneWithTiesToEven) {
  for (const uint32_t sign : {0u, 0x8000u}) {
    for (uint32_t upper = sign; upper < sign + kBfloat16Infinity; ++upper) {
      const uint32_t middle = upper << 16 | 0x8000;
      ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(middle)), upper % 2 == 0 ? upper : upper + 1);
      ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(middle - 1)), upper);
      ASSERT_EQ(float_to_bfloat16(std::bit_cast<float>(middle + 1)), upper + 1);
    }
  }
}

TEST(Bfloat16, OfALargestFloatIsInfinite) {
  EXPECT_EQ(float_to_bfloat16(std::numeric_limits<float>::max()), kBfloat16Infinity);
  EXPECT_EQ(float_to_bfloat16(-std::numeric_limits<float>::max()), kBfloat16Infinity | 0x8000);
}

TEST(Bfloat16, OfANanWhosePayloadIsInTheLowerHalfIsANan) {
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0xffffffffu)))));
}

TEST(DTypeInfo, SaysTheSizesOfTheFormats) {
  // ggml-common.h: block_q4_0 is {half d; uint8 qs[16]}, block_q6_K {uint8 ql[128], qh[64]; int8 scales[16]; half d}.
  EXPECT_EQ(info_of(DType::kF32).block_bytes, 4);
  EXPECT_EQ(info_of(DType::kBF16).name, "BF16");
  EXPECT_EQ(info_of(DType::kBool).block_bytes, 1);
  EXPECT_EQ(info_of(DType::kQ4_0).block_bytes, 2 + 16);
  EXPECT_EQ(info_of(DType::kQ4_1).block_bytes, 2 + 2 + 16);
  EXPECT_EQ(info_of(DType::kQ5_0).block_bytes, 2 + 4 + 16);
  EXPECT_EQ(info_of(DType::kQ5_1).block_bytes, 2 + 2 + 4 + 16);
  EXPECT_EQ(info_of(DType::kQ8_0).block_bytes, 2 + 32);
  EXPECT_EQ(info_of(DType::kQ4_K).block_bytes, 2 + 2 + 12 + 128);
  EXPECT_EQ(info_of(DType::kQ5_K).block_bytes, 2 + 2 + 12 + 32 + 128);
  EXPECT_EQ(info_of(DType::kQ6_K).block_bytes, 128 + 64 + 16 + 2);
  EXPECT_EQ(info_of(DType::kQ6_K).block_elements, 256);
  EXPECT_EQ(info_of(DType::kQ8_0).block_elements, 32);
}

TEST(DTypeInfo, TellsBlockFormatsFromPlainOnes) {
  EXPECT_FALSE(is_block_quantized(DType::kF16));
  EXPECT_FALSE(is_block_quantized(DType::kI8));
  EXPECT_TRUE(is_block_quantized(DType::kQ4_0));
  EXPECT_TRUE(is_block_quantized(DType::kQ6_K));
}

}  // namespace
}  // namespace salient::core
