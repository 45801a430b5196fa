// A matrix [rows, columns], row-major in chunks of 16 bytes, as vulkan_linear.h describes it. Its kind and the numbers
// beside its groups are constants of the pipeline, so what follows folds to the code of one kind.

const uint kF32 = 0;
const uint kF16 = 1;
const uint kBF16 = 2;
const uint kInt4 = 4;
const uint kInt8 = 8;

layout(constant_id = 0) const uint kKind = kF32;
layout(constant_id = 1) const uint kGroupSize = 32;
layout(constant_id = 2) const bool kHalfNumbers = true;  // scales and offsets are fp16, else fp32
layout(constant_id = 3) const bool kOffsets = false;     // w = code * scale + offset, else (code - zero) * scale
layout(constant_id = 4) const bool kBias = false;
layout(constant_id = 5) const bool kAccumulate = false;  // the product is added to what is there

const bool kQuantized = kKind == kInt4 || kKind == kInt8;
/// Weights of one chunk, and of how many chunks of four those are.
const uint kChunk = kKind == kF32 ? 4 : kKind == kInt4 ? 32 : kKind == kInt8 ? 16 : 8;
const uint kQuads = kChunk / 4;

layout(binding = 0) readonly buffer Weights { uvec4 weights[]; };
layout(binding = 1) readonly buffer Numbers { uint numbers[]; };
layout(binding = 3) buffer Output { float outputs[]; };
layout(binding = 4) readonly buffer Bias { float biases[]; };

layout(push_constant) uniform Shape {
  uint rows;       // of this piece of the matrix
  uint columns;
  uint tokens;
  uint first_row;  // of this piece
  uint out_stride;
};

/// Of a row's group: the scale, and the zero point or offset.
vec2 group_numbers(uint row, uint column) {
  const uint index = row * (columns / kGroupSize) + column / kGroupSize;
  if (kHalfNumbers) return unpackHalf2x16(numbers[index]);
  return uintBitsToFloat(uvec2(numbers[2 * index], numbers[2 * index + 1]));
}

vec4 bytes_of(uint word) {
  return vec4(word & 0xffu, word >> 8 & 0xffu, word >> 16 & 0xffu, word >> 24);
}

/// Four consecutive weights of a chunk; of a quantized one, their codes.
vec4 unpack_quad(uvec4 chunk, uint quad) {
  if (kKind == kInt4) return bytes_of(chunk[quad / 2] >> (quad % 2 * 4) & 0x0f0f0f0fu);
  // Codes of 8 bits are stored less 128, as the integer dot product takes them.
  if (kKind == kInt8) return bytes_of(chunk[quad] ^ 0x80808080u);
  if (kKind == kF16) return vec4(unpackHalf2x16(chunk[2 * quad]), unpackHalf2x16(chunk[2 * quad + 1]));
  if (kKind == kBF16) {
    const uvec2 pair = uvec2(chunk[2 * quad], chunk[2 * quad + 1]);
    return uintBitsToFloat(uvec4(pair.x << 16, pair.x & 0xffff0000u, pair.y << 16, pair.y & 0xffff0000u));
  }
  return uintBitsToFloat(chunk);
}

void put_output(uint token, uint row, float value) {
  const uint index = token * out_stride + first_row + row;
  if (kBias) value += biases[first_row + row];
  outputs[index] = kAccumulate ? outputs[index] + value : value;
}
