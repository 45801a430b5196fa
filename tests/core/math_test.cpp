#include "core/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace salient::core {
namespace {

/// How far a result is from the exact value, in units of the last place of the value. The exact value is libm's in
/// long double, which has eleven bits more than fp64.
template <typename Number>
long double error_in_ulp(Number result, long double exact) {
  const int digits = std::numeric_limits<Number>::digits;
  return std::abs((static_cast<long double>(result) - exact) / std::ldexp(1.0L, std::ilogb(exact) - digits + 1));
}

/// The largest error of `function` over random arguments, and `special` ones.
template <typename Number, typename Function, typename Exact>
long double largest_error(Number low, Number high, Function function, Exact exact, std::vector<Number> special = {}) {
  std::mt19937_64 engine(3);
  std::uniform_real_distribution<Number> distribution(low, high);
  for (int i = 0; i < 200000; ++i) special.push_back(distribution(engine));
  long double largest = 0;
  for (const Number x : special) largest = std::max(largest, error_in_ulp(function(x), exact(x)));
  return largest;
}

long double exact_exp(long double x) {
  return std::exp(x);
}

TEST(FloatExp, IsWithinTwoUlp) {
  const auto function = [](float x) { return exp(x); };
  EXPECT_LT(largest_error<float>(-87, 88, function, exact_exp, {-87, 88, 0.34657359f, -0.34657359f}), 2);
  EXPECT_LT(largest_error<float>(-1e-3f, 1e-3f, function, exact_exp), 2);
}

TEST(FloatExp, OfZeroIsOne) {
  EXPECT_EQ(exp(0.0f), 1.0f);
  EXPECT_EQ(exp(-0.0f), 1.0f);
}

TEST(FloatExp, IsZeroBelowItsRange) {
  EXPECT_GT(exp(-87.0f), 0.0f);
  EXPECT_EQ(exp(std::nextafter(-87.0f, -100.0f)), 0.0f);
  EXPECT_EQ(exp(std::numeric_limits<float>::lowest()), 0.0f);
  EXPECT_EQ(exp(-std::numeric_limits<float>::infinity()), 0.0f);
}

TEST(FloatExp, StaysAtTheHighestAboveItsRange) {
  EXPECT_EQ(exp(88.5f), exp(88.0f));
  EXPECT_EQ(exp(std::numeric_limits<float>::infinity()), exp(88.0f));
  EXPECT_TRUE(std::isfinite(exp(88.0f)));
}

TEST(FloatExp, OfANanIsZero) {
  EXPECT_EQ(exp(std::numeric_limits<float>::quiet_NaN()), 0.0f);
}

TEST(DoubleExp, IsWithinTwoUlp) {
  const auto function = [](double x) { return exp(x); };
  EXPECT_LT(largest_error<double>(-708, 709, function, exact_exp, {-708, 709, 0, 1}), 2);
  EXPECT_LT(largest_error<double>(-1, 1, function, exact_exp), 2);
}

TEST(DoubleExp, StaysInItsRange) {
  EXPECT_EQ(exp(-708.5), 0.0);
  EXPECT_EQ(exp(-1e300), 0.0);
  EXPECT_EQ(exp(1e300), exp(709.0));
  EXPECT_TRUE(std::isfinite(exp(709.0)));
}

/// What MinGW calls sin and cos in long double are the instructions of the x87, which know 66 bits of pi.
#ifdef __MINGW32__
constexpr bool kExactSines = false;
#else
constexpr bool kExactSines = true;
#endif

TEST(Log, IsWithinTwoUlp) {
  const auto function = [](double x) { return log(x); };
  const auto exact = [](long double x) { return std::log(x); };
  EXPECT_LT(largest_error<double>(1e-3, 10, function, exact), 2);
  EXPECT_LT(largest_error<double>(0.99, 1.01, function, exact, {std::nextafter(1.0, 0), std::nextafter(1.0, 2)}), 2);
  EXPECT_LT(largest_error<double>(1e10, 1e300, function, exact,
                                  {std::numeric_limits<double>::min(), std::numeric_limits<double>::denorm_min(),
                                   std::numeric_limits<double>::max()}),
            2);
}

TEST(Log, OfOneIsZero) {
  EXPECT_EQ(log(1.0), 0.0);
}

/// Doubles next to multiples of pi / 2, where the reduction of the argument cancels most digits.
std::vector<double> near_quarter_turns() {
  std::vector<double> numbers;
  for (const int turns : {1, 2, 3, 4, 5, 7, 100, 1001, 11, 33102, 636619, -1, -2, -3, -33102}) {
    numbers.push_back(turns * 1.57079632679489661923);
  }
  return numbers;
}

/// "About 2 ulp": the reduction of the argument adds a quarter.
constexpr long double kAboutTwo = 2.5L;

TEST(Sine, IsWithinAboutTwoUlp) {
  if (!kExactSines) GTEST_SKIP() << "there is no exact value to compare with";
  const auto function = [](double x) { return sin(x); };
  const auto exact = [](long double x) { return std::sin(x); };
  EXPECT_LT(largest_error<double>(-1e6, 1e6, function, exact, near_quarter_turns()), kAboutTwo);
  EXPECT_LT(largest_error<double>(-4, 4, function, exact), 2);
  EXPECT_LT(largest_error<double>(1e-12, 1e-9, function, exact), 2);
}

TEST(Cosine, IsWithinAboutTwoUlp) {
  if (!kExactSines) GTEST_SKIP() << "there is no exact value to compare with";
  const auto function = [](double x) { return cos(x); };
  const auto exact = [](long double x) { return std::cos(x); };
  EXPECT_LT(largest_error<double>(-1e6, 1e6, function, exact, near_quarter_turns()), kAboutTwo);
  EXPECT_LT(largest_error<double>(-4, 4, function, exact), 2);
}

TEST(Sine, OfZeroIsZeroAndCosineOne) {
  EXPECT_EQ(sin(0.0), 0.0);
  EXPECT_EQ(cos(0.0), 1.0);
}

TEST(Power, ErrsAsItsExponentDoes) {
  // exp(y ln x): two roundings of y ln x, each half an ulp, come out multiplied by y ln x.
  std::mt19937_64 engine(4);
  std::uniform_real_distribution<double> base(1e-3, 1e6);
  std::uniform_real_distribution<double> exponent(-20, 20);
  for (int i = 0; i < 100000; ++i) {
    const double x = base(engine);
    const double y = exponent(engine);
    const long double logarithm = y * std::log(static_cast<long double>(x));
    const long double bound = 3 + 4 * std::abs(logarithm);
    ASSERT_LT(error_in_ulp(power(x, y), std::exp(logarithm)), bound) << x << " to the power of " << y;
  }
  EXPECT_EQ(power(7.0, 0.0), 1.0);
}

}  // namespace
}  // namespace salient::core
