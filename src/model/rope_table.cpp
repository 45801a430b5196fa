#include "model/rope_table.h"

#include <utility>

#include "core/math.h"

namespace salient::model {

RopeTable::RopeTable(std::vector<float> frequencies, float magnitude)
    : frequencies_(std::move(frequencies)), magnitude_(magnitude) {}

void RopeTable::grow(int64_t count) {
  const int64_t pairs = std::ssize(frequencies_);
  for (int64_t position = std::ssize(cos_) / pairs; position < count; ++position) {
    for (const float frequency : frequencies_) {
      const double angle = static_cast<float>(position) * frequency;
      cos_.push_back(static_cast<float>(core::cos(angle)) * magnitude_);
      sin_.push_back(static_cast<float>(core::sin(angle)) * magnitude_);
    }
  }
}

}  // namespace salient::model
