#include "evaluate/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace salient::evaluate {
namespace {

TEST(Statistics, AreThoseOfASample) {
  // Squared distances from 5: 9, 1, 1, 1, 0, 0, 4, 16.
  const Statistics found = statistics_of({2, 4, 4, 4, 5, 5, 7, 9});
  EXPECT_DOUBLE_EQ(found.mean, 5);
  EXPECT_DOUBLE_EQ(found.deviation, std::sqrt(32.0 / 7));
  EXPECT_DOUBLE_EQ(found.standard_error, std::sqrt(32.0 / 7 / 8));
}

TEST(Statistics, OfOneValueHaveNoSpread) {
  const Statistics found = statistics_of({3});
  EXPECT_EQ(found.mean, 3);
  EXPECT_EQ(found.deviation, 0);
  EXPECT_EQ(found.standard_error, 0);
}

TEST(Median, IsTheMiddleOfTheSortedValues) {
  EXPECT_EQ(median_of({5, 1, 3}), 3);
  EXPECT_EQ(median_of({8, 1, 2, 4}), 3);
  EXPECT_EQ(median_of({7}), 7);
}

}  // namespace
}  // namespace salient::evaluate
