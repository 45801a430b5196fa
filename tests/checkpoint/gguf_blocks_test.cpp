#include "checkpoint/gguf_blocks.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::DType;

/// The blocks of a test as plain bytes.
using Bytes = std::vector<uint8_t>;

float half_at(const uint8_t* bytes) {
  return core::half_to_float(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
}

// The formats once more, in the loops in which ggml-quants.c has them: y is filled block part by block part.

/// Q4_0 to Q5_1: d, perhaps m, perhaps 32 fifth bits, then 16 bytes of two codes that are 16 elements apart.
void expected_small(const uint8_t* block, bool has_minimum, bool has_fifth_bit, float* y) {
  const float d = half_at(block);
  const float m = has_minimum ? half_at(block + 2) : 0;
  const uint8_t* bits = block + (has_minimum ? 4 : 2);
  const uint8_t* codes = bits + (has_fifth_bit ? 4 : 0);
  uint32_t fifth = 0;
  if (has_fifth_bit) std::memcpy(&fifth, bits, sizeof fifth);
  for (int j = 0; j < 16; ++j) {
    const int first = (codes[j] & 0x0f) | static_cast<int>((fifth >> j << 4) & 0x10);
    const int second = (codes[j] >> 4) | static_cast<int>((fifth >> (j + 12)) & 0x10);
    const int offset = has_minimum ? 0 : has_fifth_bit ? 16 : 8;
    y[j] = static_cast<float>(first - offset) * d + m;
    y[j + 16] = static_cast<float>(second - offset) * d + m;
  }
}

void expected_q8_0(const uint8_t* block, float* y) {
  for (int j = 0; j < 32; ++j) y[j] = static_cast<float>(static_cast<int8_t>(block[2 + j])) * half_at(block);
}

/// ggml's get_scale_min_k4.
std::array<int, 2> scale_and_minimum(int j, const uint8_t* q) {
  if (j < 4) return {q[j] & 63, q[j + 4] & 63};
  return {(q[j + 4] & 0xf) | ((q[j - 4] >> 6) << 4), (q[j + 4] >> 4) | ((q[j] >> 6) << 4)};
}

void expected_k_nibbles(const uint8_t* block, bool has_fifth_bit, float* y) {
  const float d = half_at(block);
  const float minimum = half_at(block + 2);
  const uint8_t* high = block + 16;
  const uint8_t* low = has_fifth_bit ? block + 48 : block + 16;
  int u1 = 1;
  int u2 = 2;
  for (int is = 0; is < 8; is += 2, low += 32, u1 <<= 2, u2 <<= 2) {
    const auto [scale1, minimum1] = scale_and_minimum(is, block + 4);
    const auto [scale2, minimum2] = scale_and_minimum(is + 1, block + 4);
    for (int l = 0; l < 32; ++l) {
      const int code = (low[l] & 0xf) + (has_fifth_bit && high[l] & u1 ? 16 : 0);
      *y++ = d * static_cast<float>(scale1) * static_cast<float>(code) - minimum * static_cast<float>(minimum1);
    }
    for (int l = 0; l < 32; ++l) {
      const int code = (low[l] >> 4) + (has_fifth_bit && high[l] & u2 ? 16 : 0);
      *y++ = d * static_cast<float>(scale2) * static_cast<float>(code) - minimum * static_cast<float>(minimum2);
    }
  }
}

void expected_q6_k(const uint8_t* block, float* y) {
  const float d = half_at(block + 208);
  const uint8_t* ql = block;
  const uint8_t* qh = block + 128;
  const auto* sc = reinterpret_cast<const int8_t*>(block + 192);
  for (int n = 0; n < 256; n += 128, y += 128, ql += 64, qh += 32, sc += 8) {
    for (int l = 0; l < 32; ++l) {
      const int is = l / 16;
      const std::array codes = {(ql[l] & 0xf) | ((qh[l] >> 0 & 3) << 4), (ql[l + 32] & 0xf) | ((qh[l] >> 2 & 3) << 4),
                                (ql[l] >> 4) | ((qh[l] >> 4 & 3) << 4), (ql[l + 32] >> 4) | ((qh[l] >> 6 & 3) << 4)};
      for (int part = 0; part < 4; ++part) {
        y[l + 32 * part] = d * static_cast<float>(sc[is + 2 * part]) * static_cast<float>(codes[part] - 32);
      }
    }
  }
}

void expected_block(DType dtype, const uint8_t* block, float* y) {
  if (dtype == DType::kQ8_0) return expected_q8_0(block, y);
  if (dtype == DType::kQ6_K) return expected_q6_k(block, y);
  if (dtype == DType::kQ4_K || dtype == DType::kQ5_K) return expected_k_nibbles(block, dtype == DType::kQ5_K, y);
  expected_small(block, dtype == DType::kQ4_1 || dtype == DType::kQ5_1, dtype == DType::kQ5_0 || dtype == DType::kQ5_1,
                 y);
}

constexpr std::array kFormats = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                 DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

std::vector<float> dequantize(DType dtype, const Bytes& bytes) {
  const core::DTypeInfo& info = core::info_of(dtype);
  std::vector<float> values(bytes.size() / info.block_bytes * info.block_elements);
  dequantize_blocks(dtype, reinterpret_cast<const std::byte*>(bytes.data()), std::ssize(values), values.data());
  return values;
}

TEST(GgufBlocks, AreDecodedAsGgmlDoes) {
  constexpr int kBlocks = 200;
  std::mt19937 engine(11);
  for (const DType dtype : kFormats) {
    const core::DTypeInfo& info = core::info_of(dtype);
    Bytes bytes(kBlocks * info.block_bytes);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine());
    // Scales of any sign, but finite.
    for (int block = 0; block < kBlocks; ++block) {
      uint8_t* start = &bytes[block * info.block_bytes];
      for (uint8_t* high : {start + 1, start + 3, start + info.block_bytes - 1}) *high &= 0xbf;
    }
    const std::vector<float> values = dequantize(dtype, bytes);
    std::vector<float> expected(info.block_elements);
    for (int block = 0; block < kBlocks; ++block) {
      expected_block(dtype, &bytes[block * info.block_bytes], expected.data());
      for (int i = 0; i < info.block_elements; ++i) {
        ASSERT_EQ(values[block * info.block_elements + i], expected[i]) << info.name << " block " << block << ", " << i;
      }
    }
  }
}

/// A block of random bytes and some of its values, by the Python package gguf 0.19.0 of the ggml project.
struct Golden {
  DType dtype;
  std::string hexadecimal;
  std::vector<std::pair<int, float>> values;
};

const std::vector<Golden>& goldens() {
  static const std::vector<Golden> kGoldens = {
      {DType::kQ4_0,
       "c0286ae4eb0eb3479ecafa42f5b50d767132",
       {{0, 0.07421875f},
        {1, -0.1484375f},
        {7, 0.07421875f},
        {15, -0.22265625f},
        {16, -0.07421875f},
        {23, 0.1484375f},
        {30, -0.037109375f},
        {31, -0.185546875f}}},
      {DType::kQ4_1,
       "c028e0bc9fdad03f33a9c9857d80d73dc642bf68",
       {{0, -0.662109375f},
        {1, -0.84765625f},
        {7, -1.03320312f},
        {15, -0.921875f},
        {16, -0.884765625f},
        {23, -0.921875f},
        {30, -0.810546875f},
        {31, -0.99609375f}}},
      {DType::kQ5_0,
       "c028235828f856124849d0084ce1551935199ba9eb64",
       {{0, 0.22265625f},
        {1, 0.07421875f},
        {7, -0.556640625f},
        {15, -0.4453125f},
        {16, -0.408203125f},
        {23, -0.07421875f},
        {30, 0.51953125f},
        {31, 0.22265625f}}},
      {DType::kQ5_1,
       "c028e0bcc76eaeb1867435ec363fdd72075bf98c98a0e2a3",
       {{0, -0.40234375f},
        {1, -0.4765625f},
        {7, -0.55078125f},
        {15, -1.10742188f},
        {16, -0.921875f},
        {23, -0.365234375f},
        {30, -0.69921875f},
        {31, -0.25390625f}}},
      {DType::kQ8_0,
       "c0288d67f8c13e45812d89b3bf9c474dac93288eb58bc612f5536c367c3f760da91b",
       {{0, -4.26757812f},
        {1, 3.82226562f},
        {7, 1.66992188f},
        {15, -4.04492188f},
        {16, 1.484375f},
        {23, 3.08007812f},
        {30, -3.22851562f},
        {31, 1.00195312f}}},
      {DType::kQ4_K,
       "c028e0bc4c4605e14ac734d00712edebd0d1450116a9cec4cc817e54033fc4a56f65ce16b42b5138595ecb775ea8ca447de5"
       "209ef8fdfee7607c118d0d463feffde05122feea4471324bd3b3f4efa0262090eb9cb243b9683030a977b47bfa873686104c"
       "03fea2b390dc1bebeac9fd22d64d5c15791fd242b6340f25333917664a03ea60daa4f73b6e7e5c42ea0d1f4d",
       {{2, 14.4140625f},
        {25, 18.421875f},
        {44, 8.53125f},
        {53, 8.9765625f},
        {100, 37.8691406f},
        {150, 21.2070312f},
        {165, 62.390625f},
        {171, 64.3945312f},
        {175, 65.0625f},
        {190, 69.7382812f},
        {194, 22.8515625f},
        {204, 18.5097656f}}},
      {DType::kQ5_K,
       "c028e0bc70603ba221e7aa77ee528ab2651acfe31e1b6a18bdf9d4587144effbd509eae44552384a39347d455e814672d9c2"
       "adc6ceeccc4d0a52d2047ed1360a4140713246ba993e22ae0dfa9d5bb653a0c920edee633e93dbdce70a09ffce11453d81ca"
       "367448eef2597545c112e632ad48c88fea268787cbd6ff6fba09335b4098472ff097005cfed4cf8183a740e99450799b22f4"
       "a4e3f3214bfd265c439cf5ce9584ecc79d4712b2e4bb0ad2a027",
       {{4, 65.15625f},
        {17, 68.71875f},
        {42, 62.96875f},
        {63, 72.46875f},
        {91, 97.1660156f},
        {108, 67.03125f},
        {110, 102.359375f},
        {114, 97.3125f},
        {124, 102.359375f},
        {130, 25.96875f},
        {136, 47.1210938f},
        {255, 35.4296875f}}},
      {DType::kQ6_K,
       "10a30fc615bd0683f29da660f7abb013ca76d0411a5379df6daf01755d90f8ffec8da9cd3fda3f20049aa3857327985b6035"
       "c4addbab0055a422279af7c31e4f62b13e3c961f3e1102de4e7b67db40a0d3ea9563e25ed8e1bc5804ccf2859ea20015de44"
       "63180e62539d29d064386e141ac9905bffb24b85357dd7541e4a5238b9326deb8378cedf9120bdde17fea328b19d568ac3bb"
       "0e4be1d84bd3e2cf29ee5747f1ddb33ee5734315fac45ceac0320b7dfa95f13ab5363d38ebbc7dc5890c585e1d0e1d70a1e2"
       "c31cc55313c79ba8c028",
       {{13, 35.921875f},
        {30, -27.90625f},
        {45, 24.7519531f},
        {51, 6.75390625f},
        {60, -12.9882812f},
        {74, 27.9804688f},
        {94, 62.34375f},
        {134, 4.52734375f},
        {144, 19.7421875f},
        {153, -24.9375f},
        {157, -11.4296875f},
        {209, -63.4570312f}}},
  };
  return kGoldens;
}

Bytes bytes_of(const std::string& hexadecimal) {
  Bytes bytes;
  for (size_t i = 0; i < hexadecimal.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(hexadecimal.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST(GgufBlocks, HaveTheValuesThatTheGgufPackageGives) {
  ASSERT_EQ(goldens().size(), kFormats.size());
  for (const Golden& golden : goldens()) {
    const Bytes bytes = bytes_of(golden.hexadecimal);
    const auto& info = core::info_of(golden.dtype);
    ASSERT_EQ(std::ssize(bytes), info.block_bytes) << info.name;
    const std::vector<float> values = dequantize(golden.dtype, bytes);
    for (const auto& [i, value] : golden.values) EXPECT_EQ(values[i], value) << info.name << ", element " << i;
  }
}

TEST(GgufBlocks, ArePackedAsTheGgufPackagePacksThem) {
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0}) {
    const auto golden =
        std::find_if(goldens().begin(), goldens().end(), [&](const Golden& entry) { return entry.dtype == dtype; });
    ASSERT_NE(golden, goldens().end());
    const Bytes bytes = bytes_of(golden->hexadecimal);
    const BlockLayout layout = block_layout(dtype);
    core::QuantizedTensor weights;
    weights.out_features = 1;
    weights.in_features = weights.group_size = 32;
    weights.bits = layout.bits;
    weights.codes.resize(32);
    weights.scales.resize(1);
    if (layout.has_offsets) weights.offsets.resize(1);
    if (!layout.has_offsets) weights.zeros = {static_cast<uint8_t>(layout.zero)};
    unpack_blocks(dtype, reinterpret_cast<const std::byte*>(bytes.data()), 32,
                  {weights.codes.data(), weights.scales.data(), weights.offsets.data()});
    const std::vector<std::byte> packed = pack_blocks(dtype, weights);
    EXPECT_EQ(std::memcmp(packed.data(), bytes.data(), bytes.size()), 0) << core::info_of(dtype).name;
    ASSERT_EQ(packed.size(), bytes.size());
    weights.group_size = 16;
    tests::expect_error(core::ErrorKind::kInternal, {"does not have the form"}, [&] { pack_blocks(dtype, weights); });
  }
}

TEST(GgufBlocks, OfAPlainFormatAreAnErrorOfTheProgram) {
  std::byte byte{};
  float value = 0;
  tests::expect_error(core::ErrorKind::kInternal, {"F16"}, [&] { dequantize_blocks(DType::kF16, &byte, 1, &value); });
}

}  // namespace
}  // namespace salient::checkpoint
