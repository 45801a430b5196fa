#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "core/quantized_tensor.h"

namespace salient::checkpoint {

// What the formats that pack codes into 32-bit words (AutoAWQ, GPTQ, compressed-tensors) have in common.

/// Code `place` of a 32-bit word, counted from the lowest bits, 4 or 8 bits each.
inline uint8_t packed_code(const std::byte* words, int64_t word, int64_t place, int bits) {
  uint32_t value;
  std::memcpy(&value, words + word * 4, sizeof value);
  return static_cast<uint8_t>(value >> (place * bits) & ((1u << bits) - 1));
}

/// The eight nibbles of a word as bytes, the lowest first.
inline uint64_t spread_nibbles(uint32_t word) {
  uint64_t bytes = word;
  bytes = (bytes | bytes << 16) & 0x0000ffff0000ffff;
  bytes = (bytes | bytes << 8) & 0x00ff00ff00ff00ff;
  return (bytes | bytes << 4) & 0x0f0f0f0f0f0f0f0f;
}

/// Unpacks `count` codes of 4 or 8 bits that follow each other, the first in the lowest bits.
inline void unpack_codes(const std::byte* packed, int64_t count, int bits, uint8_t* codes) {
  if (bits == 8) {
    std::memcpy(codes, packed, static_cast<size_t>(count));
    return;
  }
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    uint32_t word;
    std::memcpy(&word, packed + i / 2, sizeof word);
    const uint64_t bytes = spread_nibbles(word);
    std::memcpy(codes + i, &bytes, sizeof bytes);
  }
  for (; i < count; ++i) codes[i] = std::to_integer<uint8_t>(packed[i / 2]) >> (i % 2 * 4) & 15;
}

/// Has `unpack` write a row's codes in the order of inputs, and puts them into the order of columns where that is
/// another.
template <typename Unpack>
void unpack_ordered(const std::vector<int32_t>& column_input, uint8_t* codes, Unpack unpack) {
  if (column_input.empty()) return unpack(codes);
  std::vector<uint8_t> by_input(column_input.size());
  unpack(by_input.data());
  for (size_t column = 0; column < by_input.size(); ++column) codes[column] = by_input[column_input[column]];
}

/// Sets code `place` of a word whose bits there are 0.
inline void put_packed_code(std::byte* words, int64_t word, int64_t place, int bits, uint8_t code) {
  uint32_t value;
  std::memcpy(&value, words + word * 4, sizeof value);
  value |= uint32_t{code} << (place * bits);
  std::memcpy(words + word * 4, &value, sizeof value);
}

/// The tensor `name`. Throws invalid_input when its dtype or shape differs, not_found when there is none.
const StoredTensor& checked_tensor(const Checkpoint& checkpoint, const std::string& name, core::DType dtype,
                                   const std::vector<int64_t>& shape);

/// Throws invalid_input unless `name` is an I32 matrix with elements: one without may claim any size in its other
/// dimension. `layout` is what errors say was expected.
const StoredTensor& checked_words(const Checkpoint& checkpoint, const std::string& name, std::string_view layout);

/// The tensor `name`, F16, BF16 or F32, with the scales of a linear.
const StoredTensor& checked_scales(const Checkpoint& checkpoint, const std::string& name,
                                   const std::vector<int64_t>& shape);
/// Scales [first, first + count) of those stored, as fp32. Throws invalid_input for one that is not finite; `origin` is
/// what errors call the tensor.
std::vector<float> read_scales(const StoredTensor& stored, int64_t first, int64_t count, const std::string& origin);

/// The order of inputs that puts those of each group next to each other, from a tensor that gives each input its group
/// (act-order); empty where they are in order already. Throws invalid_input, naming the tensor, for a group that there
/// is not, and for groups of different sizes.
std::vector<int32_t> inputs_by_group(const Checkpoint& checkpoint, const std::string& name, int64_t in_features,
                                     int64_t groups);

/// The size in which a stored group of `inputs` inputs (often a whole row) is held: its own where that is 16 to 256,
/// else the largest of 128, 64, 32 and 16 that divides it. Throws unsupported, naming the linear.
int held_group_size(const Checkpoint& checkpoint, const std::string& prefix, int64_t inputs);

/// Throws unsupported, naming the tensor, when the words of `layout` cannot hold it: offsets, another order of inputs,
/// a zero point or code beyond its bits.
void check_packable(const core::QuantizedTensor& weights, const std::string& prefix, std::string_view layout);

/// True when every zero point is 2^(bits - 1).
bool is_symmetric(const core::QuantizedTensor& weights);

/// The fp16 bits of a scale. Throws unsupported, naming the tensor, when fp16 does not hold it exactly.
uint16_t exact_half(const core::QuantizedTensor& weights, int64_t row, int64_t group, const std::string& prefix);

}  // namespace salient::checkpoint
