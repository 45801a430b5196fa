#include "runner/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace salient::runner {
namespace {

TEST(RopeTable, HoldsTheAnglesOfItsFormula) {
  RopeTable table(10000.0, 64);
  table.grow(10);
  table.grow(2001);
  for (const int64_t position : {0, 1, 9, 10, 2000}) {
    for (int64_t i = 0; i < 32; ++i) {
      const double angle = static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(i) / 64);
      // The reference rounds frequency and angle to fp32: 2^-23 of the angle.
      const double bound = angle * 1.2e-7 + 1e-7;
      EXPECT_NEAR(table.cos(position)[i], std::cos(angle), bound);
      EXPECT_NEAR(table.sin(position)[i], std::sin(angle), bound);
    }
  }
}

}  // namespace
}  // namespace salient::runner
