#pragma once

#include "kernels/vector_kernels.h"

namespace salient::kernels {

/// What perplexity, divergence and the bandwidth probe sum up, over a vector type V as in vector_kernels.h.
template <typename V>
struct VectorStatistics {
  using Float = typename V::Float;
  using Common = VectorKernels<V>;

  static float sum_exp(const float* x, int64_t size, float shift) {
    const float nothing = -__builtin_inff();
    Float sums = V::zero();
    for (int64_t i = 0; i < size; i += kLanes) {
      sums = V::add(sums, Common::exp(V::subtract(Common::load_first(x + i, size - i, nothing), V::broadcast(shift))));
    }
    return Common::sum_lanes(sums);
  }

  static float divergence(const float* p, float p_log_sum, const float* q, float q_log_sum, int64_t size) {
    constexpr float kNothing = -1e30f;  // finite, so that 0 * (p - q) stays 0
    Float sums = V::zero();
    for (int64_t i = 0; i < size; i += kLanes) {
      const Float p_log = V::subtract(Common::load_first(p + i, size - i, kNothing), V::broadcast(p_log_sum));
      const Float q_log = V::subtract(Common::load_first(q + i, size - i, kNothing), V::broadcast(q_log_sum));
      sums = V::fma(Common::exp(p_log), V::subtract(p_log, q_log), sums);
    }
    return Common::sum_lanes(sums);
  }

  static uint32_t sum_words(const uint32_t* words, int64_t count) {
    const int64_t quarter = count / kReadStreams;
    typename V::Int sums[kReadStreams];
    for (auto& sum : sums) sum = V::int_broadcast(0);
    for (int64_t i = 0; i < quarter; i += kLanes) {
      for (int stream = 0; stream < kReadStreams; ++stream) {
        sums[stream] = V::add_int(sums[stream], V::load_int(words + stream * quarter + i));
      }
    }
    return V::sum_int(V::add_int(V::add_int(sums[0], sums[1]), V::add_int(sums[2], sums[3])));
  }
};

}  // namespace salient::kernels
