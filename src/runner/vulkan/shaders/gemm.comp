#version 450
#extension GL_GOOGLE_include_directive : require
// y = W x for many tokens, x in fp32: a workgroup computes 64 rows of 64 tokens, 4 by 4 a thread, from tiles of 32
// columns that it unpacks into shared memory.
const uint kThreads = 256;
layout(local_size_x = 256) in;
#include "weights.glsl"

layout(binding = 2) readonly buffer Input { vec4 x[]; };

const uint kTile = 64;
const uint kDepth = 32;
// One number more a line: neighbouring threads store a column apart, and would all meet in one bank.
const uint kLine = kTile + 1;
shared float weight_tile[kDepth * kLine];
shared float input_tile[kDepth * kLine];

void load_weights(uint row0, uint column0) {
  const uint chunks = kDepth / kChunk;
  for (uint i = gl_LocalInvocationID.x; i < kTile * chunks; i += kThreads) {
    const uint line = i / chunks;
    const uint row = min(row0 + line, rows - 1);
    const uint offset = i % chunks * kChunk;
    const uint column = column0 + offset;
    const bool inside = column < columns;
    const uvec4 chunk = inside ? weights[row * (columns / kChunk) + column / kChunk] : uvec4(0);
    vec2 number = vec2(0);
    for (uint quad = 0; quad < kQuads; ++quad) {
      vec4 values = unpack_quad(chunk, quad);
      if (kQuantized) {
        if (inside && (quad == 0 || (kGroupSize % kChunk != 0 && quad == kQuads / 2))) {
          number = group_numbers(row, column + quad * 4);
        }
        values = kOffsets ? values * number.x + number.y : (values - number.y) * number.x;
      }
      for (uint j = 0; j < 4; ++j) weight_tile[(offset + quad * 4 + j) * kLine + line] = values[j];
    }
  }
}

void load_inputs(uint token0, uint column0) {
  for (uint i = gl_LocalInvocationID.x; i < kTile * kDepth / 4; i += kThreads) {
    const uint line = i / (kDepth / 4);
    const uint token = min(token0 + line, tokens - 1);
    const uint offset = i % (kDepth / 4) * 4;
    const uint column = column0 + offset;
    const vec4 values = column < columns ? x[(token * columns + column) / 4] : vec4(0);
    for (uint j = 0; j < 4; ++j) input_tile[(offset + j) * kLine + line] = values[j];
  }
}

void main() {
  const uint row0 = gl_WorkGroupID.x * kTile;
  const uint token0 = gl_WorkGroupID.y * kTile;
  const uint across = gl_LocalInvocationID.x % 16;
  const uint down = gl_LocalInvocationID.x / 16;
  vec4 sums[4];
  for (uint i = 0; i < 4; ++i) sums[i] = vec4(0);
  for (uint column0 = 0; column0 < columns; column0 += kDepth) {
    load_weights(row0, column0);
    load_inputs(token0, column0);
    barrier();
    for (uint k = 0; k < kDepth; ++k) {
      // Rows and tokens 16 apart, so that a wave's reads are side by side.
      vec4 w;
      for (uint j = 0; j < 4; ++j) w[j] = weight_tile[k * kLine + across + 16 * j];
      for (uint i = 0; i < 4; ++i) sums[i] += w * input_tile[k * kLine + down + 16 * i];
    }
    barrier();
  }
  for (uint i = 0; i < 4; ++i) {
    const uint token = token0 + down + 16 * i;
    for (uint j = 0; j < 4; ++j) {
      const uint row = row0 + across + 16 * j;
      if (row < rows && token < tokens) put_output(token, row, sums[i][j]);
    }
  }
}
