#version 450
#extension GL_GOOGLE_include_directive : require
// y = W x for up to kTokens tokens, x in fp32: a workgroup takes kRows rows of W and reads each weight once for all
// tokens, in 16 bytes a thread and neighbouring threads side by side.
const uint kThreads = 64;
const uint kRows = 4;
layout(local_size_x = 64) in;
layout(constant_id = 6) const uint kTokens = 1;
const uint kReduced = kRows * kTokens;
#include "weights.glsl"
#include "reduce.glsl"
DEFINE_REDUCE(reduce_sum, subgroupAdd, plus)

layout(binding = 2) readonly buffer Input { vec4 x[]; };

void main() {
  const uint row0 = gl_WorkGroupID.x * kRows;
  const uint token0 = gl_WorkGroupID.y * kTokens;
  const uint chunks = columns / kChunk;
  float sums[kReduced];
  for (uint i = 0; i < kReduced; ++i) sums[i] = 0;
  for (uint chunk = gl_LocalInvocationID.x; chunk < chunks; chunk += kThreads) {
    uvec4 packed[kRows];
    vec2 number[kRows];
    for (uint r = 0; r < kRows; ++r) {
      // Rows beyond the last repeat it: their sums go nowhere.
      const uint row = min(row0 + r, rows - 1);
      packed[r] = weights[row * chunks + chunk];
      if (kQuantized) number[r] = group_numbers(row, chunk * kChunk);
    }
    for (uint quad = 0; quad < kQuads; ++quad) {
      // Groups of 16 weights, of which two are in a chunk of int4.
      if (kQuantized && kGroupSize % kChunk != 0 && quad == kQuads / 2) {
        for (uint r = 0; r < kRows; ++r) {
          number[r] = group_numbers(min(row0 + r, rows - 1), chunk * kChunk + kChunk / 2);
        }
      }
      vec4 values[kRows];
      for (uint r = 0; r < kRows; ++r) values[r] = unpack_quad(packed[r], quad);
      for (uint t = 0; t < kTokens; ++t) {
        const uint token = min(token0 + t, tokens - 1);
        const vec4 input_quad = x[token * (columns / 4) + chunk * kQuads + quad];
        const float input_sum = kQuantized ? dot(input_quad, vec4(1)) : 0;
        for (uint r = 0; r < kRows; ++r) {
          const float product = dot(values[r], input_quad);
          if (!kQuantized) {
            sums[r * kTokens + t] += product;
          } else if (kOffsets) {
            sums[r * kTokens + t] += number[r].x * product + number[r].y * input_sum;
          } else {
            sums[r * kTokens + t] += number[r].x * (product - number[r].y * input_sum);
          }
        }
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
