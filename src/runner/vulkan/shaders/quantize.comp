#version 450
// Rounds activations to int8 in blocks of kBlock: scale = max|x| / 127. A thread takes a block.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint kBlock = 32;
layout(binding = 0) readonly buffer Input { vec4 x[]; };
layout(binding = 1) writeonly buffer Output { uint rounded[]; };
layout(binding = 2) writeonly buffer Blocks { vec2 block_numbers[]; };  // scale, and sum of the integers
layout(push_constant) uniform Shape { uint blocks; };

void main() {
  const uint block = gl_GlobalInvocationID.x;
  if (block >= blocks) return;
  const uint first = block * (kBlock / 4);
  float largest = 0;
  for (uint i = 0; i < kBlock / 4; ++i) {
    const vec4 a = abs(x[first + i]);
    largest = max(largest, max(max(a.x, a.y), max(a.z, a.w)));
  }
  const float scale = largest / 127;
  const float inverse = scale > 0 ? 1 / scale : 0;
  int sum = 0;
  for (uint i = 0; i < kBlock / 4; ++i) {
    const ivec4 values = ivec4(roundEven(clamp(x[first + i] * inverse, -127, 127)));
    sum += values.x + values.y + values.z + values.w;
    const uvec4 bits = uvec4(values) & 0xffu;
    rounded[first + i] = bits.x | bits.y << 8 | bits.z << 16 | bits.w << 24;
  }
  block_numbers[block] = vec2(scale, float(sum));
}
