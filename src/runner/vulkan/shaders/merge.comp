#version 450
// Puts the parts of one query's softmax together and divides by its sum: one head of one token a workgroup.
const uint kThreads = 64;
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint kHeadDim = 64;
layout(binding = 0) readonly buffer Parts { float parts[]; };  // as attention.comp leaves them
layout(binding = 1) writeonly buffer Output { float attended[]; };
layout(push_constant) uniform Shape { uint part_count; };

void main() {
  const uint row_head = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint first = row_head * part_count * (kHeadDim + 2);
  float maximum = parts[first + kHeadDim];
  for (uint i = 1; i < part_count; ++i) maximum = max(maximum, parts[first + i * (kHeadDim + 2) + kHeadDim]);
  float sum = 0;
  for (uint i = 0; i < part_count; ++i) {
    const uint part = first + i * (kHeadDim + 2) + kHeadDim;
    sum += exp(parts[part] - maximum) * parts[part + 1];
  }
  for (uint d = gl_LocalInvocationID.x; d < kHeadDim; d += kThreads) {
    float value = 0;
    for (uint i = 0; i < part_count; ++i) {
      const uint part = first + i * (kHeadDim + 2);
      value += exp(parts[part + kHeadDim] - maximum) * parts[part + d];
    }
    attended[row_head * kHeadDim + d] = value / sum;
  }
}
