#include "core/random.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <set>

namespace salient::core {
namespace {

constexpr uint64_t kGamma = 0x9e3779b97f4a7c15u;
/// The first three outputs of SplitMix64 seeded with 0, as its reference implementation prints them.
constexpr uint64_t kFirst = 0xe220a8397b1dcdafu;
constexpr uint64_t kSecond = 0x6e789e6aa1b965f4u;
constexpr uint64_t kThird = 0x06c45d188009454fu;

TEST(RandomBits, AreThreeRoundsOfSplitMix64) {
  // After a round that gave kFirst, an input of n * gamma - kFirst brings the state to that of output n + 1.
  EXPECT_EQ(random_bits(0, 0 - kFirst, 0 - kFirst), kFirst);
  EXPECT_EQ(random_bits(0, 0 - kFirst, kGamma - kFirst), kSecond);
  EXPECT_EQ(random_bits(0, 0 - kFirst, 2 * kGamma - kFirst), kThird);
  EXPECT_EQ(random_bits(0, kGamma - kFirst, 0 - kSecond), kFirst);
  EXPECT_EQ(random_bits(kGamma, 0 - kSecond, 0 - kFirst), kFirst);
}

TEST(RandomBits, DifferForEachInput) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (uint64_t stream = 0; stream < 10; ++stream) {
      for (uint64_t counter = 0; counter < 10; ++counter) seen.insert(random_bits(seed, stream, counter));
    }
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(RandomBits, AreEachSetHalfOfTheTime) {
  constexpr int kDraws = 10000;
  for (int bit = 0; bit < 64; ++bit) {
    int set = 0;
    for (uint64_t i = 0; i < kDraws; ++i) set += random_bits(1, 2, i) >> bit & 1;
    EXPECT_NEAR(set, kDraws / 2, 250) << "bit " << bit;  // five standard deviations
  }
}

TEST(RandomUniform, IsTheUpper53BitsAsAFraction) {
  EXPECT_EQ(random_uniform(0, 0 - kFirst, 0 - kFirst), std::ldexp(static_cast<double>(kFirst >> 11), -53));
  EXPECT_EQ(random_uniform(0, 0 - kFirst, kGamma - kFirst), std::ldexp(static_cast<double>(kSecond >> 11), -53));
}

TEST(RandomUniform, IsUniformFromZeroToBelowOne) {
  constexpr int kDraws = 100000;
  double sum = 0;
  double squares = 0;
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double value = random_uniform(5, 6, i);
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kDraws, 1.0 / 2, 0.005);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.005);
}

}  // namespace
}  // namespace salient::core
