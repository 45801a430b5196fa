#version 450
// up = activation(gate) * up, or activation(up) where there is no gate.
layout(local_size_x = 256) in;
layout(constant_id = 0) const bool kGelu = false;
layout(constant_id = 1) const bool kGated = true;
layout(binding = 0) readonly buffer Gate { float gate[]; };
layout(binding = 1) buffer Up { float up[]; };
layout(push_constant) uniform Shape { uint count; };

float activation(float x) {
  if (!kGelu) return x / (1 + exp(-x));
  // The tanh form, as x times the logistic function of 2 z.
  const float z = 1.59576912160573071 * (x + 0.044715 * x * x * x);
  return x / (1 + exp(-z));
}

void main() {
  // More elements than one row of workgroups may hold are counted on in the next.
  const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
  if (i >= count) return;
  up[i] = kGated ? activation(gate[i]) * up[i] : activation(up[i]);
}
