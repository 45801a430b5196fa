#pragma once

#include <optional>

#include "core/tensor.h"
#include "model/decoder.h"

namespace salient::runner {

/// How the output head, of a small model half of what is read for a token, is held: as it is stored, or rounded at
/// load. The embedding table is not touched, also where it is the same matrix.
enum class HeadPrecision { kStored, kInt8, kInt4 };

/// The groups a head is rounded in.
struct HeadGroups {
  int bits;
  int size;
};

/// The groups that a decoder's head is to be rounded in: of 64 weights (8 bits) or 32 (4 bits), less where they do not
/// divide hidden_size. Nothing for kStored and for a head that is stored in no more bits than are asked for. Throws
/// unsupported where hidden_size is no multiple of 16.
std::optional<HeadGroups> choose_head_groups(const model::Decoder& decoder, HeadPrecision precision);

/// A decoder's head with each group rounded to its best grid (see `core::find_grid`): symmetric with 8 bits, with a
/// zero point with 4; rows are rounded when they are read, which throws invalid_input for weights that fp16 scales
/// cannot hold. The bias stays. It refers to the decoder's checkpoint as its head does.
core::LinearWeights round_head(const model::Decoder& decoder, const HeadGroups& groups);

}  // namespace salient::runner
