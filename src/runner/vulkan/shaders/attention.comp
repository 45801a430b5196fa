#version 450
#extension GL_GOOGLE_include_directive : require
// softmax(scale * q K^T) V with an online softmax over pages, for a block of queries that share a kv head: kMembers
// heads of kTokens consecutive tokens. Keys and values are read once for all of them. A workgroup takes one part of
// the context; merge.comp puts the parts together.
const uint kThreads = 64;
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint kHeadDim = 64;
layout(constant_id = 1) const uint kGroup = 1;    // query heads of a kv head
layout(constant_id = 2) const uint kMembers = 1;  // of those, in a block
layout(constant_id = 3) const uint kTokens = 1;   // in a block
layout(constant_id = 4) const bool kSoftCap = false;
layout(constant_id = 5) const bool kInt8 = false;  // keys and values
const uint kRows = kMembers * kTokens;
// Arrays that are reduced are declared with it: glslang 12 loses what a function does to one of another constant.
const uint kReduced = kRows;
const uint kPairs = (kHeadDim / 2 + kThreads - 1) / kThreads;  // of dimensions, a thread
#include "cache.glsl"
#include "reduce.glsl"
DEFINE_REDUCE(reduce_sum, subgroupAdd, plus)
DEFINE_REDUCE(reduce_max, subgroupMax, max)
layout(binding = 0) readonly buffer Query { vec4 query[]; };
layout(binding = 1) readonly buffer Blocks { uvec4 blocks[]; };  // first row, tokens, first position, first of pages
layout(binding = 2) readonly buffer Pages { uint pages[]; };
layout(binding = 3) readonly buffer Keys { uvec4 key_chunks[]; };  // the cache
layout(binding = 4) readonly buffer Words { uint words[]; };  // the cache again
layout(binding = 5) writeonly buffer Parts { float parts[]; };  // [rows][heads][parts][head_dim values, maximum, sum]
layout(push_constant) uniform Shape {
  uint kv_heads;
  float scale;
  float soft_cap;
  uint window;
  uint part_keys;  // a multiple of kPageKeys
};

const float kNone = -3.402823466e38;
shared vec4 query_rows[kRows * kHeadDim / 4];
shared float probabilities[kRows * kPageKeys];

/// int8 numbers of a word.
float code(uint word, uint index) { return float(bitfieldExtract(int(word), int(8 * index), 8)); }
vec4 codes(uint word) { return vec4(code(word, 0), code(word, 1), code(word, 2), code(word, 3)); }

/// Eight dimensions of a thread's key, without its scale.
void read_key(uint start, uint chunk, uint thread, out vec4 low, out vec4 high) {
  if (kInt8) {
    const uint word = start + (chunk * kPageKeys + thread) * kChunkWords;
    low = codes(words[word]);
    high = codes(words[word + 1]);
  } else {
    const uvec4 pairs = key_chunks[start / 4 + chunk * kPageKeys + thread];
    low = vec4(unpackHalf2x16(pairs.x), unpackHalf2x16(pairs.y));
    high = vec4(unpackHalf2x16(pairs.z), unpackHalf2x16(pairs.w));
  }
}

/// Two dimensions of a value.
vec2 read_value(uint start, uint key, uint pair) {
  const uint first = start + key_words(kHeadDim);
  if (!kInt8) return unpackHalf2x16(words[first + key * (kHeadDim / 2) + pair]);
  const uint word = words[first + key * (kHeadDim / 4) + pair / 2];
  const float scale = uintBitsToFloat(words[scale_start(start, kHeadDim) + kPageKeys + key]);
  return scale * vec2(code(word, pair % 2 * 2), code(word, pair % 2 * 2 + 1));
}

void main() {
  const uint thread = gl_LocalInvocationID.x;
  const uvec4 block = blocks[gl_WorkGroupID.y];
  const uint member_blocks = (kGroup + kMembers - 1) / kMembers;
  const uint kv_head = gl_WorkGroupID.x / member_blocks;
  const uint member0 = gl_WorkGroupID.x % member_blocks * kMembers;
  const uint heads = kv_heads * kGroup;
  for (uint i = thread; i < kRows * kHeadDim / 4; i += kThreads) {
    const uint row = i / (kHeadDim / 4);
    const uint token = min(row / kMembers, block.y - 1);
    const uint member = min(member0 + row % kMembers, kGroup - 1);
    query_rows[i] = query[((block.x + token) * heads + kv_head * kGroup + member) * (kHeadDim / 4) + i % (kHeadDim / 4)];
  }
  barrier();

  const uint seen = window > 0 && block.z + 1 > window ? block.z + 1 - window : 0;  // the first token's first key
  const uint first = max(gl_WorkGroupID.z * part_keys, seen / kPageKeys * kPageKeys);
  const uint end = min((gl_WorkGroupID.z + 1) * part_keys, block.z + block.y);
  float maxima[kRows];
  float sums[kReduced];  // of this thread's keys
  vec2 values[kRows * kPairs];
  for (uint r = 0; r < kRows; ++r) {
    maxima[r] = kNone;
    sums[r] = 0;
  }
  for (uint i = 0; i < kRows * kPairs; ++i) values[i] = vec2(0);

  for (uint page_key = first; page_key < end; page_key += kPageKeys) {
    const uint start = head_start(pages[block.w + page_key / kPageKeys], kv_heads, kv_head, kHeadDim);
    const uint key = page_key + thread;
    float scores[kRows];
    for (uint r = 0; r < kRows; ++r) scores[r] = 0;
    for (uint i = 0; i < kHeadDim / 8; ++i) {
      vec4 low;
      vec4 high;
      read_key(start, i, thread, low, high);
      for (uint r = 0; r < kRows; ++r) {
        const uint q = r * (kHeadDim / 4) + 2 * i;
        scores[r] += dot(query_rows[q], low) + dot(query_rows[q + 1], high);
      }
    }
    float page_maxima[kReduced];
    const float key_scale = kInt8 ? scale * uintBitsToFloat(words[scale_start(start, kHeadDim) + thread]) : scale;
    for (uint r = 0; r < kRows; ++r) {
      scores[r] *= key_scale;
      if (kSoftCap) scores[r] = soft_cap * (1 - 2 / (exp(2 * clamp(scores[r] / soft_cap, -40, 40)) + 1));
      const uint position = block.z + r / kMembers;
      const bool visible = key < end && key <= position && (window == 0 || key + window > position);
      // What lies behind the last key may be anything, also no number.
      scores[r] = visible ? scores[r] : kNone;
      page_maxima[r] = scores[r];
    }
    reduce_max(page_maxima);
    for (uint r = 0; r < kRows; ++r) {
      const float maximum = max(maxima[r], page_maxima[r]);
      const float correction = exp(maxima[r] - maximum);
      const float probability = scores[r] > kNone ? exp(scores[r] - maximum) : 0;
      maxima[r] = maximum;
      sums[r] = sums[r] * correction + probability;
      probabilities[r * kPageKeys + thread] = probability;
      for (uint p = 0; p < kPairs; ++p) values[r * kPairs + p] *= correction;
    }
    barrier();
    const uint keys = min(kPageKeys, end - page_key);
    for (uint p = 0; p < kPairs; ++p) {
      const uint pair = thread + p * kThreads;
      if (pair >= kHeadDim / 2) break;
      for (uint k = 0; k < keys; ++k) {
        const vec2 value = read_value(start, k, pair);
        for (uint r = 0; r < kRows; ++r) values[r * kPairs + p] += probabilities[r * kPageKeys + k] * value;
      }
    }
    barrier();
  }

  reduce_sum(sums);
  for (uint r = 0; r < kRows; ++r) {
    const uint token = r / kMembers;
    const uint member = member0 + r % kMembers;
    if (token >= block.y || member >= kGroup) continue;
    const uint row_head = (block.x + token) * heads + kv_head * kGroup + member;
    const uint part = (row_head * gl_NumWorkGroups.z + gl_WorkGroupID.z) * (kHeadDim + 2);
    for (uint p = 0; p < kPairs; ++p) {
      const uint pair = thread + p * kThreads;
      if (pair >= kHeadDim / 2) break;
      parts[part + 2 * pair] = values[r * kPairs + p].x;
      parts[part + 2 * pair + 1] = values[r * kPairs + p].y;
    }
    if (thread == 0) {
      parts[part + kHeadDim] = maxima[r];
      parts[part + kHeadDim + 1] = sums[r];
    }
  }
}
