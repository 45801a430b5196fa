#include "generate/log_probabilities.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace salient::generate {
namespace {

TEST(LogProbabilities, AreThoseOfTheSoftmax) {
  std::vector<float> logits;
  for (const double p : {0.1, 0.2, 0.4, 0.2, 0.1}) logits.push_back(static_cast<float>(std::log(p)) + 7);
  const LogProbabilities result = log_probabilities(logits, 4, 3);
  EXPECT_EQ(result.chosen.id, 4);
  EXPECT_NEAR(result.chosen.log_probability, std::log(0.1), 1e-5);
  ASSERT_EQ(result.top.size(), 3u);
  EXPECT_EQ(result.top[0].id, 2);
  EXPECT_EQ(result.top[1].id, 1) << "the lowest id among equals";
  EXPECT_EQ(result.top[2].id, 3);
  EXPECT_NEAR(result.top[0].log_probability, std::log(0.4), 1e-5);
  EXPECT_NEAR(result.top[2].log_probability, std::log(0.2), 1e-5);
}

TEST(LogProbabilities, AreAtMostAsManyAsThereAreNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const LogProbabilities result = log_probabilities(std::vector{0.0f, nan, 0.0f}, 0, 20);
  ASSERT_EQ(result.top.size(), 2u);
  EXPECT_EQ(result.top[1].id, 2);
  EXPECT_NEAR(result.chosen.log_probability, std::log(0.5), 1e-6);
  EXPECT_TRUE(log_probabilities(std::vector{1.0f, 2.0f}, 0, 0).top.empty());
}

}  // namespace
}  // namespace salient::generate
