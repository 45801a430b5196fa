#include "checkpoint/gguf_blocks.h"

#include <cstring>

#include "core/error.h"

namespace salient::checkpoint {

namespace {

using core::DType;

float half_at(const std::byte* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return core::half_to_float(bits);
}

int byte_at(const std::byte* bytes, int64_t i) {
  return std::to_integer<int>(bytes[i]);
}

/// Code i of 32 whose low nibbles are elements 0..15 and high nibbles 16..31.
int nibble_at(const std::byte* bytes, int i) {
  return i < 16 ? byte_at(bytes, i) & 15 : byte_at(bytes, i - 16) >> 4;
}

/// Bit i of a 32-bit mask.
int bit_at(const std::byte* bytes, int i) {
  return byte_at(bytes, i / 8) >> (i % 8) & 1;
}

// The small formats: blocks of 32 with an fp16 scale d, and an fp16 minimum m in the _1 kinds.

void decode_q4_0(const std::byte* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(nibble_at(block + 2, i) - 8) * d;
}

void decode_q4_1(const std::byte* block, float* out) {
  const float d = half_at(block);
  const float m = half_at(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(nibble_at(block + 4, i)) * d + m;
}

void decode_q5_0(const std::byte* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>((nibble_at(block + 6, i) | bit_at(block + 2, i) << 4) - 16) * d;
  }
}

void decode_q5_1(const std::byte* block, float* out) {
  const float d = half_at(block);
  const float m = half_at(block + 2);
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>(nibble_at(block + 8, i) | bit_at(block + 4, i) << 4) * d + m;
  }
}

void decode_q8_0(const std::byte* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(byte_at(block + 2, i))) * d;
}

// The K formats: blocks of 256 in sub-blocks whose scales are themselves quantized.

struct ScaleAndMinimum {
  int scale;
  int minimum;
};

/// Eight 6-bit scales and minimums in 12 bytes: the first four plainly, the upper bits of the others in theirs.
ScaleAndMinimum unpack_k_scale(const std::byte* packed, int i) {
  if (i < 4) return {byte_at(packed, i) & 63, byte_at(packed, i + 4) & 63};
  return {(byte_at(packed, i + 4) & 15) | byte_at(packed, i - 4) >> 6 << 4,
          byte_at(packed, i + 4) >> 4 | byte_at(packed, i) >> 6 << 4};
}

/// Q4_K, and Q5_K with `fifth_bits`: sub-block i of 32 has the low (even i) or high nibbles of 32 bytes.
void decode_k_nibbles(const std::byte* block, const std::byte* fifth_bits, const std::byte* nibbles, float* out) {
  const float d = half_at(block);
  const float m = half_at(block + 2);
  for (int i = 0; i < 8; ++i) {
    const auto [scale, minimum] = unpack_k_scale(block + 4, i);
    for (int j = 0; j < 32; ++j) {
      const int low = byte_at(nibbles, i / 2 * 32 + j) >> (i % 2 * 4) & 15;
      const int fifth = fifth_bits ? byte_at(fifth_bits, j) >> i & 1 : 0;
      *out++ = d * static_cast<float>(scale) * static_cast<float>(low | fifth << 4) - m * static_cast<float>(minimum);
    }
  }
}

void decode_q4_k(const std::byte* block, float* out) {
  decode_k_nibbles(block, nullptr, block + 16, out);
}

void decode_q5_k(const std::byte* block, float* out) {
  decode_k_nibbles(block, block + 16, block + 48, out);
}

/// Low nibbles [128], upper two bits [64], int8 scales of 16 sub-blocks of 16, d; in two halves of 128 elements.
void decode_q6_k(const std::byte* block, float* out) {
  const float d = half_at(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int in_half = i % 128;
    const int low = byte_at(block, half * 64 + in_half % 64) >> (in_half / 64 * 4) & 15;
    const int high = byte_at(block + 128, half * 32 + in_half % 32) >> (in_half / 32 * 2) & 3;
    const int scale = static_cast<int8_t>(byte_at(block + 192, i / 16));
    out[i] = d * static_cast<float>(scale) * static_cast<float>((low | high << 4) - 32);
  }
}

using DecodeBlock = void (*)(const std::byte* block, float* out);

DecodeBlock decoder_of(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return decode_q4_0;
    case DType::kQ4_1:
      return decode_q4_1;
    case DType::kQ5_0:
      return decode_q5_0;
    case DType::kQ5_1:
      return decode_q5_1;
    case DType::kQ8_0:
      return decode_q8_0;
    case DType::kQ4_K:
      return decode_q4_k;
    case DType::kQ5_K:
      return decode_q5_k;
    case DType::kQ6_K:
      return decode_q6_k;
    default:
      core::fail(core::ErrorKind::kInternal, "{} is not a block format", core::info_of(dtype).name);
  }
}

}  // namespace

void dequantize_blocks(DType dtype, const std::byte* blocks, int64_t elements, float* out) {
  const core::DTypeInfo& info = core::info_of(dtype);
  const DecodeBlock decode = decoder_of(dtype);
  for (int64_t i = 0; i < elements / info.block_elements; ++i) {
    decode(blocks + i * info.block_bytes, out + i * info.block_elements);
  }
}

}  // namespace salient::checkpoint
