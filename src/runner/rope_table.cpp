#include "runner/rope_table.h"

#include "core/math.h"

namespace salient::runner {

RopeTable::RopeTable(double theta, int64_t head_dim) {
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_dim);
    frequencies_.push_back(1.0f / static_cast<float>(core::power(theta, exponent)));
  }
}

void RopeTable::grow(int64_t count) {
  const int64_t half = std::ssize(frequencies_);
  for (int64_t position = std::ssize(cos_) / half; position < count; ++position) {
    for (const float frequency : frequencies_) {
      const double angle = static_cast<float>(position) * frequency;
      cos_.push_back(static_cast<float>(core::cos(angle)));
      sin_.push_back(static_cast<float>(core::sin(angle)));
    }
  }
}

}  // namespace salient::runner
