#version 450
// The inputs of a linear in the order of its columns.
layout(local_size_x = 256) in;
layout(binding = 0) readonly buffer Input { float x[]; };
layout(binding = 1) readonly buffer Order { uint column_input[]; };
layout(binding = 2) writeonly buffer Output { float y[]; };
layout(push_constant) uniform Shape { uint columns; };

void main() {
  const uint column = gl_GlobalInvocationID.x;
  if (column < columns) y[gl_WorkGroupID.y * columns + column] = x[gl_WorkGroupID.y * columns + column_input[column]];
}
