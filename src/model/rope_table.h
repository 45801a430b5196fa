#pragma once

#include <cstdint>
#include <vector>

namespace salient::model {

/// cos and sin of a rotary embedding's angles by position, grown as positions are asked for. Angles are rounded to
/// fp32, as the reference implementation rounds them.
class RopeTable {
 public:
  /// Radians a position for each pair of dimensions, and what cos and sin are multiplied by.
  RopeTable(std::vector<float> frequencies, float magnitude);

  /// Makes positions [0, count) available.
  void grow(int64_t count);

  /// A value for each pair.
  const float* cos(int64_t position) const { return &cos_[position * std::ssize(frequencies_)]; }
  const float* sin(int64_t position) const { return &sin_[position * std::ssize(frequencies_)]; }

 private:
  std::vector<float> frequencies_;
  float magnitude_;
  std::vector<float> cos_;
  std::vector<float> sin_;
};

}  // namespace salient::model
