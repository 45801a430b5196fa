#include "generate/logprobs.h"

#include <gtest/gtest.h>

#include <cmath>

namespace salient::generate {
namespace {

TEST(Logprobs, AreLogarithmsOfTheSoftmax) {
  const std::vector<float> logits = {std::log(1.0f), std::log(5.0f), std::log(2.0f), std::log(2.0f)};
  const TokenLogprobs found = logprobs_of(logits, 0, 3);
  EXPECT_EQ(found.token.id, 0);
  EXPECT_NEAR(found.token.logprob, std::log(0.1), 1e-6);
  ASSERT_EQ(found.top.size(), 3u);
  EXPECT_EQ(found.top[0].id, 1);
  EXPECT_NEAR(found.top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(found.top[1].id, 2);
  EXPECT_EQ(found.top[2].id, 3);
  EXPECT_NEAR(found.top[2].logprob, std::log(0.2), 1e-6);
  EXPECT_TRUE(logprobs_of(logits, 0, 0).top.empty());
  EXPECT_EQ(logprobs_of(logits, 0, 20).top.size(), 4u);
}

}  // namespace
}  // namespace salient::generate
