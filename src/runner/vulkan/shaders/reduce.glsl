// Sums and maxima over a workgroup of kThreads, of kReduced numbers a thread at once. Every thread must call, and gets
// the result. With SUBGROUPS they go through the subgroup's registers, and only its results through shared memory.

#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
// The smallest subgroup that is reckoned with is 4 wide.
shared float reduced[kThreads / 4 * kReduced];
#define DEFINE_REDUCE(name, subgroup_operation, operation)                              \
  void name(inout float values[kReduced]) {                                             \
    for (uint i = 0; i < kReduced; ++i) {                                               \
      const float of_subgroup = subgroup_operation(values[i]);                          \
      if (subgroupElect()) reduced[gl_SubgroupID * kReduced + i] = of_subgroup;         \
    }                                                                                   \
    barrier();                                                                          \
    for (uint i = 0; i < kReduced; ++i) {                                               \
      values[i] = reduced[i];                                                           \
      for (uint s = 1; s < gl_NumSubgroups; ++s) {                                      \
        values[i] = operation(values[i], reduced[s * kReduced + i]);                    \
      }                                                                                 \
    }                                                                                   \
    barrier();                                                                          \
  }
#else
shared float reduced[kThreads * kReduced];
#define DEFINE_REDUCE(name, subgroup_operation, operation)                              \
  void name(inout float values[kReduced]) {                                             \
    const uint thread = gl_LocalInvocationID.x;                                         \
    for (uint i = 0; i < kReduced; ++i) reduced[thread * kReduced + i] = values[i];     \
    for (uint half_size = kThreads / 2; half_size > 0; half_size /= 2) {                \
      barrier();                                                                        \
      if (thread < half_size) {                                                         \
        for (uint i = 0; i < kReduced; ++i) {                                           \
          reduced[thread * kReduced + i] = operation(reduced[thread * kReduced + i],    \
                                                     reduced[(thread + half_size) * kReduced + i]); \
        }                                                                               \
      }                                                                                 \
    }                                                                                   \
    barrier();                                                                          \
    for (uint i = 0; i < kReduced; ++i) values[i] = reduced[i];                         \
    barrier();                                                                          \
  }
#endif

float plus(float a, float b) { return a + b; }
