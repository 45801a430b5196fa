#version 450
#extension GL_GOOGLE_include_directive : require
// RMS or layer normalization of one row a workgroup; with kAccumulate its result is added to what is there.
const uint kThreads = 256;
const uint kReduced = 1;
layout(local_size_x = 256) in;
#include "reduce.glsl"
DEFINE_REDUCE(reduce_sum, subgroupAdd, plus)
layout(constant_id = 0) const bool kLayerNorm = false;
layout(constant_id = 1) const bool kAccumulate = false;
layout(binding = 0) readonly buffer Input { float x[]; };
layout(binding = 1) readonly buffer Weight { float weight[]; };
layout(binding = 2) readonly buffer Bias { float bias[]; };
layout(binding = 3) buffer Output { float y[]; };
layout(push_constant) uniform Shape {
  uint size;
  float epsilon;
};

float sum_of(float value) {
  float values[1] = float[1](value);
  reduce_sum(values);
  return values[0];
}

void main() {
  const uint first = gl_WorkGroupID.x * size;
  float mean = 0;
  if (kLayerNorm) {
    float sum = 0;
    for (uint i = gl_LocalInvocationID.x; i < size; i += kThreads) sum += x[first + i];
    mean = sum_of(sum) / float(size);
  }
  float squares = 0;
  for (uint i = gl_LocalInvocationID.x; i < size; i += kThreads) {
    const float centred = x[first + i] - mean;
    squares += centred * centred;
  }
  const float factor = 1 / sqrt(sum_of(squares) / float(size) + epsilon);
  for (uint i = gl_LocalInvocationID.x; i < size; i += kThreads) {
    float value = (x[first + i] - mean) * factor * weight[i];
    if (kLayerNorm) value += bias[i];
    y[first + i] = kAccumulate ? y[first + i] + value : value;
  }
}
