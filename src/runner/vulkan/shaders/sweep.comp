#version 450

// Reads a buffer once, 16 bytes a thread side by side, and writes the sum of the words of each workgroup.

layout(local_size_x = 256) in;
layout(std430, binding = 0) readonly buffer Source { uvec4 source[]; };
layout(std430, binding = 1) writeonly buffer Sums { uint sums[]; };
layout(push_constant) uniform Push { uint chunks; };

const uint kChunks = 16;  // that a thread reads

shared uint total;

void main() {
  const uint first = gl_WorkGroupID.x * 256 * kChunks + gl_LocalInvocationID.x;
  uvec4 sum = uvec4(0);
  for (uint i = 0; i < kChunks; ++i) {
    const uint index = first + i * 256;
    if (index < chunks) sum += source[index];
  }
  if (gl_LocalInvocationID.x == 0) total = 0;
  barrier();
  atomicAdd(total, sum.x + sum.y + sum.z + sum.w);
  barrier();
  if (gl_LocalInvocationID.x == 0) sums[gl_WorkGroupID.x] = total;
}
