#include <gtest/gtest.h>

#include <cmath>

#if defined(__SIZEOF_FLOAT128__)
#include "core/exact_fma.h"
#endif

namespace salient::core {
namespace {

/// Products that lie halfway between two numbers, and an addend that decides: whoever rounds twice errs.
TEST(Fma, RoundsOnce) {
  volatile float a = 1 + 0x1p-12f;
  volatile float tiny = 0x1p-60f;
  EXPECT_EQ(std::fma(a, a, tiny), 1 + 0x1p-11f + 0x1p-23f);
  EXPECT_EQ(std::fma(a, a, -tiny), 1 + 0x1p-11f);
  volatile double b = 1 + 0x1p-26;
  volatile double c = 1 + 0x1p-27;
  volatile double tinier = 0x1p-120;
  EXPECT_EQ(std::fma(b, c, tinier), 1 + 0x1p-26 + 0x1p-27 + 0x1p-52);
  EXPECT_EQ(std::fma(b, c, -tinier), 1 + 0x1p-26 + 0x1p-27);
}

#if defined(__SIZEOF_FLOAT128__)

/// Any bits at all, and triples whose sum nearly cancels.
template <typename Number, typename Bits>
void expect_exact() {
  uint64_t state = 1;
  const auto next = [&] { return std::bit_cast<Number>(static_cast<Bits>(state = state * 6364136223846793005u + 1)); };
  const auto same = [](Number x, Number y) {
    return std::bit_cast<Bits>(x) == std::bit_cast<Bits>(y) || (std::isnan(x) && std::isnan(y));
  };
  for (int i = 0; i < 300000; ++i) {
    const Number a = next();
    const Number b = next();
    const Number c = i % 2 == 0 ? next() : -a * b;
    ASSERT_TRUE(same(exact_fma(a, b, c), std::fma(a, b, c))) << a << " * " << b << " + " << c;
  }
}

TEST(ExactFma, IsTheInstructionsResult) {
  expect_exact<float, uint32_t>();
  expect_exact<double, uint64_t>();
  EXPECT_EQ(exact_fma(1 + 0x1p-12f, 1 + 0x1p-12f, 0x1p-60f), 1 + 0x1p-11f + 0x1p-23f);
  EXPECT_EQ(exact_fma(1 + 0x1p-26, 1 + 0x1p-27, 0x1p-120), 1 + 0x1p-26 + 0x1p-27 + 0x1p-52);
}

#endif

}  // namespace
}  // namespace salient::core
