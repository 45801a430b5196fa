#version 450
#extension GL_GOOGLE_include_directive : require
// One head of one token a workgroup: queries and keys are normalized and turned where the model does so, keys and
// values stored in the cache. Heads are counted through queries, keys and values.
const uint kThreads = 64;
const uint kReduced = 1;
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint kHeadDim = 64;
layout(constant_id = 1) const uint kRotaryDim = 64;  // 0: nothing turns
layout(constant_id = 2) const bool kHeadNorm = false;
layout(constant_id = 3) const bool kInt8 = false;  // keys and values
#include "cache.glsl"
#include "reduce.glsl"
DEFINE_REDUCE(reduce_sum, subgroupAdd, plus)
DEFINE_REDUCE(reduce_max, subgroupMax, max)
layout(binding = 0) buffer Query { float query[]; };
layout(binding = 1) readonly buffer Key { float key[]; };
layout(binding = 2) readonly buffer Value { float value[]; };
layout(binding = 3) readonly buffer Rows { uvec2 row_places[]; };  // position, and where the sequence's pages start
layout(binding = 4) readonly buffer Pages { uint pages[]; };
layout(binding = 5) readonly buffer Angles { vec2 cos_sin[]; };  // [rows][kRotaryDim / 2]
layout(binding = 6) readonly buffer NormWeights { float norm_weights[]; };  // of queries, then of keys
layout(binding = 7) writeonly buffer Cache { uint cache[]; };
layout(push_constant) uniform Shape {
  uint heads;
  uint kv_heads;
  float epsilon;
};

shared float head_values[kHeadDim];

void normalize(uint first_weight) {
  float squares[1] = float[1](0);
  for (uint i = gl_LocalInvocationID.x; i < kHeadDim; i += kThreads) squares[0] += head_values[i] * head_values[i];
  reduce_sum(squares);
  const float factor = 1 / sqrt(squares[0] / float(kHeadDim) + epsilon);
  for (uint i = gl_LocalInvocationID.x; i < kHeadDim; i += kThreads) {
    head_values[i] *= factor * norm_weights[first_weight + i];
  }
  barrier();
}

void turn(uint row) {
  const uint pairs = kRotaryDim / 2;
  for (uint i = gl_LocalInvocationID.x; i < pairs; i += kThreads) {
    const vec2 angle = cos_sin[row * pairs + i];
    const float a = head_values[i];
    const float b = head_values[i + pairs];
    head_values[i] = a * angle.x - b * angle.y;
    head_values[i + pairs] = b * angle.x + a * angle.y;
  }
  barrier();
}

uint half_pair(uint pair) {
  const float kLargestHalf = 65504;
  return packHalf2x16(clamp(vec2(head_values[2 * pair], head_values[2 * pair + 1]), -kLargestHalf, kLargestHalf));
}

/// Four numbers as int8 codes of `inverse` times what they are.
uint code_word(uint index, float inverse) {
  const vec4 numbers = vec4(head_values[4 * index], head_values[4 * index + 1], head_values[4 * index + 2],
                            head_values[4 * index + 3]);
  const ivec4 codes = ivec4(roundEven(numbers * inverse)) & 0xff;
  return uint(codes.x | codes.y << 8 | codes.z << 16 | codes.w << 24);
}

/// The word of a key or value, within a head's part of a page, that holds the numbers from kWordNumbers * index on.
uint word_of(bool is_key, uint slot, uint index) {
  return is_key ? (index / kChunkWords * kPageKeys + slot) * kChunkWords + index % kChunkWords
                : key_words(kHeadDim) + slot * (kHeadDim / kWordNumbers) + index;
}

void store_int8(bool is_key, uint start, uint slot) {
  float largest[1] = float[1](0);
  for (uint i = gl_LocalInvocationID.x; i < kHeadDim; i += kThreads) largest[0] = max(largest[0], abs(head_values[i]));
  reduce_max(largest);
  // A scale is what fp16 holds of it, as on the CPU.
  const float kLargestHalf = 65504;
  const float scale = unpackHalf2x16(packHalf2x16(vec2(min(largest[0] / 127, kLargestHalf), 0))).x;
  const float inverse = largest[0] > 0 ? 127 / largest[0] : 0;
  for (uint i = gl_LocalInvocationID.x; i < kHeadDim / kWordNumbers; i += kThreads) {
    cache[start + word_of(is_key, slot, i)] = code_word(i, inverse);
  }
  if (gl_LocalInvocationID.x == 0) {
    cache[scale_start(start, kHeadDim) + (is_key ? 0 : kPageKeys) + slot] = floatBitsToUint(scale);
  }
}

void main() {
  const uint row = gl_WorkGroupID.y;
  const uint head = gl_WorkGroupID.x;
  const bool is_query = head < heads;
  const bool is_key = !is_query && head < heads + kv_heads;
  const uint kv_head = is_key ? head - heads : head - heads - kv_heads;
  const uint query_start = (row * heads + head) * kHeadDim;
  const uint kv_start = (row * kv_heads + kv_head) * kHeadDim;
  for (uint i = gl_LocalInvocationID.x; i < kHeadDim; i += kThreads) {
    head_values[i] = is_query ? query[query_start + i] : is_key ? key[kv_start + i] : value[kv_start + i];
  }
  barrier();
  if (is_query || is_key) {
    if (kHeadNorm) normalize(is_query ? 0 : kHeadDim);
    if (kRotaryDim > 0) turn(row);
  }
  if (is_query) {
    for (uint i = gl_LocalInvocationID.x; i < kHeadDim; i += kThreads) query[query_start + i] = head_values[i];
    return;
  }
  const uvec2 place = row_places[row];
  const uint slot = place.x % kPageKeys;
  const uint start = head_start(pages[place.y + place.x / kPageKeys], kv_heads, kv_head, kHeadDim);
  if (kInt8) {
    store_int8(is_key, start, slot);
    return;
  }
  for (uint pair = gl_LocalInvocationID.x; pair < kHeadDim / 2; pair += kThreads) {
    cache[start + word_of(is_key, slot, pair)] = half_pair(pair);
  }
}
