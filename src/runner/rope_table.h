#pragma once

#include <cstdint>
#include <vector>

namespace salient::runner {

/// cos and sin of the rotary embedding's angles by position, grown as positions are asked for.
/// angle = position * theta^(-2i / head_dim), Su et al., "RoFormer", 2021; frequencies and angles are rounded to fp32
/// where the reference implementation rounds them.
class RopeTable {
 public:
  RopeTable(double theta, int64_t head_dim);

  /// Makes positions [0, count) available.
  void grow(int64_t count);

  /// head_dim / 2 values each.
  const float* cos(int64_t position) const { return &cos_[position * std::ssize(frequencies_)]; }
  const float* sin(int64_t position) const { return &sin_[position * std::ssize(frequencies_)]; }

 private:
  std::vector<float> frequencies_;
  std::vector<float> cos_;
  std::vector<float> sin_;
};

}  // namespace salient::runner
