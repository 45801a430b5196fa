#include "checkpoint/gguf_blocks.h"

#include <algorithm>
#include <array>
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

/// 32 codes whose low nibbles are elements 0..15 and high nibbles 16..31.
void unpack_nibbles(const std::byte* bytes, uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = static_cast<uint8_t>(byte_at(bytes, i) & 15);
    codes[i + 16] = static_cast<uint8_t>(byte_at(bytes, i) >> 4);
  }
}

/// Adds the fifth bits of 32 codes, bit i of a 32-bit mask.
void add_fifth_bits(const std::byte* bytes, uint8_t* codes) {
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] | (byte_at(bytes, i / 8) >> (i % 8) & 1) << 4);
}

// The small formats: blocks of 32 with an fp16 scale d, and an fp16 minimum m in the _1 kinds.

void unpack_q4_0(const std::byte* block, const UnpackedBlock& out) {
  out.scales[0] = half_at(block);
  unpack_nibbles(block + 2, out.codes);
}

void unpack_q4_1(const std::byte* block, const UnpackedBlock& out) {
  out.scales[0] = half_at(block);
  out.offsets[0] = half_at(block + 2);
  unpack_nibbles(block + 4, out.codes);
}

void unpack_q5_0(const std::byte* block, const UnpackedBlock& out) {
  out.scales[0] = half_at(block);
  unpack_nibbles(block + 6, out.codes);
  add_fifth_bits(block + 2, out.codes);
}

void unpack_q5_1(const std::byte* block, const UnpackedBlock& out) {
  out.scales[0] = half_at(block);
  out.offsets[0] = half_at(block + 2);
  unpack_nibbles(block + 8, out.codes);
  add_fifth_bits(block + 4, out.codes);
}

/// The codes are int8; 128 more makes them codes here.
void unpack_q8_0(const std::byte* block, const UnpackedBlock& out) {
  out.scales[0] = half_at(block);
  for (int i = 0; i < 32; ++i) out.codes[i] = static_cast<uint8_t>(byte_at(block + 2, i) ^ 128);
}

// The K formats: blocks of 256 in sub-blocks whose scales are themselves quantized. The products of d or m with them
// have at most 19 bits: they are exact.

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
void unpack_k_nibbles(const std::byte* block, const std::byte* fifth_bits, const std::byte* nibbles,
                      const UnpackedBlock& out) {
  const float d = half_at(block);
  const float m = half_at(block + 2);
  for (int i = 0; i < 8; ++i) {
    const auto [scale, minimum] = unpack_k_scale(block + 4, i);
    out.scales[i] = d * static_cast<float>(scale);
    out.offsets[i] = -(m * static_cast<float>(minimum));
    for (int j = 0; j < 32; ++j) {
      const int low = byte_at(nibbles, i / 2 * 32 + j) >> (i % 2 * 4) & 15;
      const int fifth = fifth_bits ? byte_at(fifth_bits, j) >> i & 1 : 0;
      out.codes[i * 32 + j] = static_cast<uint8_t>(low | fifth << 4);
    }
  }
}

void unpack_q4_k(const std::byte* block, const UnpackedBlock& out) {
  unpack_k_nibbles(block, nullptr, block + 16, out);
}

void unpack_q5_k(const std::byte* block, const UnpackedBlock& out) {
  unpack_k_nibbles(block, block + 16, block + 48, out);
}

/// Low nibbles [128], upper two bits [64], int8 scales of 16 sub-blocks of 16, d; in two halves of 128 elements.
void unpack_q6_k(const std::byte* block, const UnpackedBlock& out) {
  const float d = half_at(block + 208);
  for (int i = 0; i < 16; ++i) {
    out.scales[i] = d * static_cast<float>(static_cast<int8_t>(byte_at(block + 192, i)));
  }
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 128; ++i) {
      const int low = byte_at(block, half * 64 + i % 64) >> (i / 64 * 4) & 15;
      const int high = byte_at(block + 128, half * 32 + i % 32) >> (i / 32 * 2) & 3;
      out.codes[half * 128 + i] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

void put_half(float value, std::byte* bytes) {
  const uint16_t bits = core::float_to_half(value);
  std::memcpy(bytes, &bits, sizeof bits);
}

void pack_nibbles(const uint8_t* codes, std::byte* bytes) {
  for (int i = 0; i < 16; ++i) bytes[i] = static_cast<std::byte>(codes[i] | codes[i + 16] << 4);
}

struct BlockFormat {
  BlockLayout layout;
  void (*unpack)(const std::byte* block, const UnpackedBlock& out);
};

BlockFormat format_of(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return {{4, 32, false, 8, true}, unpack_q4_0};
    case DType::kQ4_1:
      return {{4, 32, true, 0, true}, unpack_q4_1};
    case DType::kQ5_0:
      return {{8, 32, false, 16, true}, unpack_q5_0};
    case DType::kQ5_1:
      return {{8, 32, true, 0, true}, unpack_q5_1};
    case DType::kQ8_0:
      return {{8, 32, false, 128, true}, unpack_q8_0};
    case DType::kQ4_K:
      return {{4, 32, true, 0, false}, unpack_q4_k};
    case DType::kQ5_K:
      return {{8, 32, true, 0, false}, unpack_q5_k};
    case DType::kQ6_K:
      return {{8, 16, false, 32, false}, unpack_q6_k};
    default:
      core::fail(core::ErrorKind::kInternal, "{} is not a block format", core::info_of(dtype).name);
  }
}

}  // namespace

BlockLayout block_layout(DType dtype) {
  return format_of(dtype).layout;
}

void unpack_blocks(DType dtype, const std::byte* blocks, int64_t elements, UnpackedBlock out) {
  const core::DTypeInfo& info = core::info_of(dtype);
  const BlockFormat format = format_of(dtype);
  const int64_t groups = info.block_elements / format.layout.group_size;
  for (int64_t done = 0; done < elements; done += info.block_elements) {
    format.unpack(blocks, out);
    blocks += info.block_bytes;
    out.codes += info.block_elements;
    out.scales += groups;
    if (format.layout.has_offsets) out.offsets += groups;
  }
}

std::vector<std::byte> pack_blocks(DType dtype, const core::QuantizedTensor& weights) {
  constexpr int kSize = 32;
  const BlockLayout layout = block_layout(dtype);
  const bool zeros_fit =
      std::all_of(weights.zeros.begin(), weights.zeros.end(), [&](uint8_t zero) { return int{zero} == layout.zero; });
  if ((dtype != DType::kQ4_0 && dtype != DType::kQ4_1 && dtype != DType::kQ8_0) || weights.bits != layout.bits ||
      weights.group_size != kSize || !weights.column_input.empty() || weights.offsets.empty() == layout.has_offsets ||
      !zeros_fit) {
    core::fail(core::ErrorKind::kInternal, "a matrix does not have the form of {}", core::info_of(dtype).name);
  }
  const size_t block_bytes = static_cast<size_t>(core::info_of(dtype).block_bytes);
  std::vector<std::byte> blocks(weights.scales.size() * block_bytes);
  for (size_t i = 0; i < weights.scales.size(); ++i) {
    std::byte* block = &blocks[i * block_bytes];
    const uint8_t* codes = &weights.codes[i * kSize];
    put_half(weights.scales[i], block);
    if (layout.has_offsets) put_half(weights.offsets[i], block + 2);
    std::byte* packed = block + (layout.has_offsets ? 4 : 2);
    if (layout.bits == 4) {
      pack_nibbles(codes, packed);
    } else {
      for (int j = 0; j < kSize; ++j) packed[j] = static_cast<std::byte>(codes[j] ^ 128);
    }
  }
  return blocks;
}

void dequantize_blocks(DType dtype, const std::byte* blocks, int64_t elements, float* out) {
  constexpr int64_t kMostElements = 256;
  std::array<uint8_t, kMostElements> codes;
  std::array<float, kMostElements / 16> scales;
  std::array<float, kMostElements / 16> offsets;
  const core::DTypeInfo& info = core::info_of(dtype);
  const BlockLayout layout = block_layout(dtype);
  for (int64_t done = 0; done < elements; done += info.block_elements, blocks += info.block_bytes) {
    unpack_blocks(dtype, blocks, info.block_elements, {codes.data(), scales.data(), offsets.data()});
    for (int64_t i = 0; i < info.block_elements; ++i) {
      const int64_t group = i / layout.group_size;
      *out++ = layout.has_offsets ? static_cast<float>(codes[i]) * scales[group] + offsets[group]
                                  : static_cast<float>(codes[i] - layout.zero) * scales[group];
    }
  }
}

}  // namespace salient::checkpoint
