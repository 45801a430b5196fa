#pragma once

#include <optional>
#include <string>

#include "core/group_grid.h"
#include "core/quantized_tensor.h"

namespace salient::convert {

using core::ZeroKind;

/// What a format holds of a quantized linear.
struct LinearFormat {
  int bits = 4;
  int group_size = 128;
  ZeroKind zeros = ZeroKind::kInteger;
  bool half_scales = true;   ///< scales are fp16, else fp32
  bool input_order = false;  ///< the order of inputs may be another (act-order)
};

/// How far the weights of a linear move when a format that cannot hold them takes them over.
struct WeightChange {
  std::string linear;            ///< as the checkpoint names it
  std::string cause;             ///< the first thing that the format cannot hold: "its scales are not fp16 numbers"
  double largest_steps = 0;      ///< the furthest move of a weight, in steps (scales) of its group in the new format
  double mean_square_steps = 0;  ///< the mean of the moves' squares, in the same unit
};

/// Throws unsupported: the change that `format` needs and that was not wanted.
[[noreturn]] void refuse_change(const WeightChange& change, const std::string& origin, const std::string& format);

struct FittedLinear {
  core::QuantizedTensor weights;
  std::optional<WeightChange> change;  ///< nothing where every weight is as it was
};

/// The weights in the nearest form that `format` holds. Codes stay where they can: then only scales and zero points or
/// offsets are rounded to fp16. Where the number of bits, the groups, the order of inputs or the kind of zero point
/// forbid that, each group is rounded anew, to the grid with the least squared error among spans from 80 to 100 % of
/// the group's own. Where the format holds them, nothing changes.
/// Throws invalid_input, naming the linear, for weights that are not finite or too large for fp16 scales, and
/// unsupported where format.group_size does not divide the inputs.
FittedLinear fit_linear(core::QuantizedTensor weights, const LinearFormat& format, const std::string& linear);

}  // namespace salient::convert
