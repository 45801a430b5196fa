#version 450
#extension GL_GOOGLE_include_directive : require
// y = W x as gemv.comp, of int4 and int8 weights and activations that quantize.comp rounded to int8: each chunk of
// weights is one block of activations, and their product a sum of integers. With INTEGER_DOT four products are one
// instruction.
const uint kThreads = 64;
const uint kRows = 4;
layout(local_size_x = 64) in;
layout(constant_id = 6) const uint kTokens = 1;
const uint kReduced = kRows * kTokens;
#include "weights.glsl"
#include "reduce.glsl"
DEFINE_REDUCE(reduce_sum, subgroupAdd, plus)

layout(binding = 2) readonly buffer Input { ivec4 x[]; };           // four int8 numbers a word
layout(binding = 5) readonly buffer InputBlocks { vec2 x_block[]; };  // scale, and sum of the integers

#ifdef INTEGER_DOT
#extension GL_EXT_spirv_intrinsics : require
// OpSDotKHR of DotProductKHR and DotProductInput4x8BitPackedKHR; the literal 0 says four numbers of 8 bits.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int signed_dot(int a, int b, spirv_literal int format);
int dot4(int a, int b) { return signed_dot(a, b, 0); }
#else
int dot4(int a, int b) {
  int sum = 0;
  for (int i = 0; i < 32; i += 8) sum += bitfieldExtract(a, i, 8) * bitfieldExtract(b, i, 8);
  return sum;
}
#endif

void main() {
  const uint row0 = gl_WorkGroupID.x * kRows;
  const uint token0 = gl_WorkGroupID.y * kTokens;
  const uint chunks = columns / kChunk;
  // What the stored codes of 8 bits are less than the true ones.
  const float shift = kKind == kInt8 ? 128.0 : 0.0;
  float sums[kReduced];
  for (uint i = 0; i < kReduced; ++i) sums[i] = 0;
  for (uint chunk = gl_LocalInvocationID.x; chunk < chunks; chunk += kThreads) {
    uvec4 packed[kRows];
    vec2 number[kRows];
    for (uint r = 0; r < kRows; ++r) {
      const uint row = min(row0 + r, rows - 1);
      packed[r] = weights[row * chunks + chunk];
      number[r] = group_numbers(row, chunk * kChunk);
    }
    for (uint t = 0; t < kTokens; ++t) {
      const uint block = min(token0 + t, tokens - 1) * chunks + chunk;
      const vec2 input_block = x_block[block];
      int products[kRows];
      for (uint r = 0; r < kRows; ++r) products[r] = 0;
      for (uint half_block = 0; half_block < kQuads / 4; ++half_block) {
        const ivec4 values = x[block * (kQuads / 4) + half_block];
        for (uint q = 0; q < 4; ++q) {
          const uint quad = half_block * 4 + q;
          for (uint r = 0; r < kRows; ++r) {
            const uint codes = kKind == kInt4 ? packed[r][quad / 2] >> (quad % 2 * 4) & 0x0f0f0f0fu : packed[r][quad];
            products[r] += dot4(int(codes), values[q]);
          }
        }
      }
      for (uint r = 0; r < kRows; ++r) {
        const float codes = float(products[r]) + shift * input_block.y;
        const float product = kOffsets ? number[r].x * codes + number[r].y * input_block.y
                                       : number[r].x * (codes - number[r].y * input_block.y);
        sums[r * kTokens + t] += input_block.x * product;
      }
    }
  }
  reduce_sum(sums);
  for (uint i = 0; i < kReduced; ++i) {
    const uint row = row0 + i / kTokens;
    const uint token = token0 + i % kTokens;
    if (gl_LocalInvocationID.x == i && row < rows && token < tokens) put_output(token, row, sums[i]);
  }
}
