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

  /// The code nearest to a weight, 0 to `largest`; 0 for a NaN.
  float code_of(float weight, int largest) const {
    const float exact = (weight - offset) / scale + zero;
    const float positive = exact > 0.0f ? exact : 0.0f;
    const float bounded = positive < static_cast<float>(largest) ? positive : static_cast<float>(largest);
    // Adding 1.5 * 2^23 leaves no bits for a fraction: what nearbyint gives, without a call for each weight.
    constexpr float kIntegers = 0x1.8p23f;
    return (bounded + kIntegers) - kIntegers;
  }
  float value_of(float code) const { return (code - zero) * scale + offset; }
};

/// The grid with the least squared error among those that span 80 to 100 % of a group of weights. Throws invalid_input,
/// naming `tensor`, for weights that are not finite or too large for fp16 scales.
GroupGrid find_grid(std::span<const float> weights, int bits, ZeroKind zeros, const std::string& tensor);

/// A matrix with room for what `round_groups` writes: all codes, scales, and zero points or offsets are 0.
QuantizedTensor make_rounding_target(int64_t out_features, int64_t in_features, int bits, int group_size,
                                     ZeroKind zeros);

/// Rounds whole groups of weights, each to its best grid, into the codes, scales and zero points (offsets for kOffset)
/// of `target` from its element `first` on. `target` has its bits, group size and the room.
void round_groups(std::span<const float> weights, ZeroKind zeros, const std::string& tensor, int64_t first,
                  QuantizedTensor& target);

}  // namespace salient::core
