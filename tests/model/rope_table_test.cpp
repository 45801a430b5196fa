#include "model/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace salient::model {
namespace {

TEST(RopeTable, HoldsTheAnglesOfItsFrequencies) {
  std::vector<float> frequencies;
  for (int i = 0; i < 32; ++i) frequencies.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / 64)));
  RopeTable table(frequencies, 1.5f);
  table.grow(10);
  table.grow(2001);
  for (const int64_t position : {0, 1, 9, 10, 2000}) {
    for (int64_t i = 0; i < 32; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      // The reference rounds the angle to fp32: 2^-23 of it.
      const double bound = 1.5 * (angle * 1.2e-7 + 1e-7);
      EXPECT_NEAR(table.cos(position)[i], 1.5 * std::cos(angle), bound);
      EXPECT_NEAR(table.sin(position)[i], 1.5 * std::sin(angle), bound);
    }
  }
}

}  // namespace
}  // namespace salient::model
