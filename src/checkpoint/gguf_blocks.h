#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/dtype.h"
#include "core/quantized_tensor.h"

namespace salient::checkpoint {

// The block formats are those of the ggml project: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K.

/// How a block format looks as a core::QuantizedTensor: codes of `bits` in groups of `group_size`, with an offset for
/// each group, or the same zero point for all.
struct BlockLayout {
  int bits;
  int group_size;
  bool has_offsets;
  int zero;
  bool half_numbers;  ///< scales and offsets are fp16 numbers, not products of several
};

/// Where the parts of blocks go: a code a byte for each element, a scale and, where the format has them, an offset for
/// each group.
struct UnpackedBlock {
  uint8_t* codes;
  float* scales;
  float* offsets;
};

BlockLayout block_layout(core::DType dtype);

/// Takes `elements` values of a block-quantized row (a multiple of the block size) apart. Exact: code * scale + offset
/// and (code - zero) * scale are the values of the format.
void unpack_blocks(core::DType dtype, const std::byte* blocks, int64_t elements, UnpackedBlock out);

/// The blocks, row after row, of a matrix in groups of 32: Q8_0 for 8 bits with every zero point 128, and for 4 bits
/// Q4_0 with every zero point 8, or Q4_1 with offsets; fp16 scales and offsets. `unpack_blocks` takes them apart again.
/// Throws internal for a matrix that is none of these.
std::vector<std::byte> pack_blocks(core::DType dtype, const core::QuantizedTensor& weights);

/// Decodes `elements` values of a block-quantized row (a multiple of the block size) to fp32.
void dequantize_blocks(core::DType dtype, const std::byte* blocks, int64_t elements, float* out);

}  // namespace salient::checkpoint
