#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/quantized_tensor.h"

namespace salient::core {

/// What stands beside the codes of a group of weights.
enum class ZeroKind {
  kInteger,  ///< any integer zero point of the codes' range
  kMiddle,   ///< nothing: the zero point is 2^(bits - 1)
  kOffset,   ///< an fp16 offset
};

/// The smallest positive fp16 number: a group of zeros still needs a scale to divide by.
inline constexpr float kSmallestHalf = 0x1p-24f;

/// The grid that a group of weights is rounded to, w = (code - zero) * scale + offset: an fp16 scale with a zero point
/// (kInteger, kMiddle; offset is 0) or with an fp16 offset (kOffset; zero is 0).
struct GroupGrid {
  float scale;
  float zero;
  float offset;

  int code_of(float weight, int largest) const;
  float value_of(int code) const { return (static_cast<float>(code) - zero) * scale + offset; }
};

/// The grid with the least squared error among those that span 80 to 100 % of a group of weights. Throws invalid_input,
/// naming `tensor`, for weights that are not finite or too large for fp16 scales.
GroupGrid find_grid(std::span<const float> weights, int bits, ZeroKind zeros, const std::string& tensor);

/// Rounds whole groups of weights, each to its best grid, into the codes, scales and zero points (offsets for kOffset)
/// of `target` from its element `first` on. `target` has its bits, group size and the room.
void round_groups(std::span<const float> weights, ZeroKind zeros, const std::string& tensor, int64_t first,
                  QuantizedTensor& target);

}  // namespace salient::core
