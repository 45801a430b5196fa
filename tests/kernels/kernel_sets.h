#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "kernels/kernels.h"

namespace salient::kernels {

/// Every vector set this CPU runs is held to the scalar reference bit for bit.
class AgainstScalar : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    set_ = find_kernels(GetParam());
    if (!set_) GTEST_SKIP() << GetParam() << " cannot run on this CPU";
  }
  const KernelSet& set() const { return *set_; }

  std::vector<float> random_floats(size_t size, float deviation = 1.0f) {
    std::normal_distribution<float> distribution(0.0f, deviation);
    std::vector<float> values(size);
    for (float& value : values) value = distribution(engine_);
    return values;
  }
  std::vector<uint16_t> random_halves(size_t size) {
    std::vector<uint16_t> halves;
    for (const float value : random_floats(size)) halves.push_back(core::float_to_half(value));
    return halves;
  }
  int random_int(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }

 private:
  const KernelSet* set_ = nullptr;
  std::mt19937 engine_{20261124};
};

inline void expect_same_bits(const std::vector<float>& expected, const std::vector<float>& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(expected[i]), std::bit_cast<uint32_t>(actual[i]))
        << "element " << i << ": " << expected[i] << " against " << actual[i];
  }
}

/// Every set of this build but the reference.
inline auto vector_sets() {
  std::vector<const char*> names = kernel_names();
  std::erase_if(names, [](const char* name) { return std::string_view(name) == kScalarKernels.name; });
  return testing::ValuesIn(names);
}

inline std::string set_name(const testing::TestParamInfo<const char*>& info) {
  return info.param;
}

}  // namespace salient::kernels
