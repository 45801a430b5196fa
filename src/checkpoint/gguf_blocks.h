#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace salient::checkpoint {

/// Decodes `elements` values of a block-quantized row (a multiple of the block size) to fp32.
/// The formats are those of the ggml project (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K).
void dequantize_blocks(core::DType dtype, const std::byte* blocks, int64_t elements, float* out);

}  // namespace salient::checkpoint
