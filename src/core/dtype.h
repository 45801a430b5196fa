#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace salient::core {

/// How the numbers of a stored tensor are encoded. The q* kinds are the block formats of GGUF, whose bytes
/// hold scales and codes together.
enum class DType {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
};

/// A dtype's name and the size of its smallest addressable unit: one element for plain types, one block of
/// `block_elements` consecutive elements of a row for block types.
struct DTypeInfo {
  std::string_view name;
  int block_elements;
  int block_bytes;
};

const DTypeInfo& info_of(DType dtype);

/// True for the block formats, whose elements cannot be addressed one by one.
bool is_block_quantized(DType dtype);

/// IEEE binary16 to binary32, exact. Without branches, so that loops of it become vector code.
inline float half_to_float(uint16_t bits) {
  const uint32_t magnitude = uint32_t{bits} << 13 & 0x0fffe000u;
  // The exponent is moved by a multiplication, which makes normal numbers of subnormal ones too.
  const auto moved = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t infinite = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(moved | infinite | (uint32_t{bits} & 0x8000u) << 16);
}

/// binary32 to IEEE binary16, to nearest, ties to even; overflow gives infinity.
uint16_t float_to_half(float value);

/// bfloat16 to binary32, exact.
inline float bfloat16_to_float(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

/// binary32 to bfloat16, to nearest, ties to even; a NaN stays a NaN.
uint16_t float_to_bfloat16(float value);

}  // namespace salient::core
