#pragma once

#include <cstdint>

#include "model/decoder.h"
#include "runner/head_rounding.h"

namespace salient::runner {

/// What a group of quantized weights has beside them: a scale, and a zero point of one byte or of a scale's size.
enum class ZeroPoints { kByte, kLikeScale };

/// The bytes of a model's linears, head included, as a runner holds them; keys and values are not counted.
uint64_t weight_bytes(const model::Decoder& decoder, HeadPrecision head, ZeroPoints zero_points = ZeroPoints::kByte);

}  // namespace salient::runner
