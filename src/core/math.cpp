#include "core/math.h"

#include <bit>
#include <cmath>

namespace salient::core {

namespace {

double scale_by_power_of_two(double x, int n) {
  return x * std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52);
}

struct Reduced {
  double r;      ///< in [-pi/4, pi/4]
  int quadrant;  ///< 0..3
};

/// Cody and Waite's reduction with pi/2 in three parts of which the first two have trailing zeros.
Reduced reduce_to_quadrant(double x) {
  constexpr double kPiHalfHigh = 0x1.921fb544p0;
  constexpr double kPiHalfMiddle = 0x1.0b4611a6p-34;
  constexpr double kPiHalfLow = 0x1.3198a2e037073p-69;
  const double n = std::nearbyint(x * 0.63661977236758134308);
  double r = std::fma(-n, kPiHalfHigh, x);
  r = std::fma(-n, kPiHalfMiddle, r);
  r = std::fma(-n, kPiHalfLow, r);
  return {r, static_cast<int>(static_cast<int64_t>(n) & 3)};
}

/// Taylor series on [-pi/4, pi/4]; the first term left out is below 2^-57 of the result.
double sin_series(double r) {
  const double square = r * r;
  double sum = 0;
  for (int k = 17; k >= 3; k -= 2) sum = std::fma(sum, -square / ((k + 2) * (k + 1)), 1.0);
  return std::fma(r * sum, -square / 6, r);
}

double cos_series(double r) {
  const double square = r * r;
  double sum = 0;
  for (int k = 18; k >= 0; k -= 2) sum = std::fma(sum, -square / ((k + 2) * (k + 1)), 1.0);
  return sum;
}

}  // namespace

float exp(float x) {
  using namespace exp_constants;
  if (!(x >= kLowest)) return 0.0f;
  if (x > kHighest) x = kHighest;
  const float n = std::nearbyint(x * kLog2E);
  float r = std::fma(n, -kLn2High, x);
  r = std::fma(n, -kLn2Low, r);
  float sum = kTaylor[0];
  for (int i = 1; i < 8; ++i) sum = std::fma(sum, r, kTaylor[i]);
  return sum * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

double exp(double x) {
  if (x < -708) return 0;
  if (x > 709) x = 709;
  const double n = std::nearbyint(x * 1.44269504088896340736);
  double r = std::fma(n, -0x1.62e42fefa38p-1, x);
  r = std::fma(n, -0x1.ef35793c7673p-45, r);
  double sum = 0;
  for (int k = 14; k >= 0; --k) sum = std::fma(sum, r / (k + 1), 1.0);
  return scale_by_power_of_two(sum, static_cast<int>(n));
}

double log(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);  // exact
  if (mantissa < 0.70710678118654752440) {
    mantissa *= 2;
    --exponent;
  }
  // ln m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172
  const double s = (mantissa - 1) / (mantissa + 1);
  const double square = s * s;
  double sum = 0;
  for (int k = 25; k >= 3; k -= 2) sum = std::fma(sum, square, 1.0 / k);
  const double n = exponent;
  const double series = std::fma(2 * s, sum * square, 2 * s);
  return std::fma(n, 0x1.62e42fefa38p-1, std::fma(n, 0x1.ef35793c7673p-45, series));
}

double sin(double x) {
  const auto [r, quadrant] = reduce_to_quadrant(x);
  const double magnitude = quadrant % 2 ? cos_series(r) : sin_series(r);
  return quadrant >= 2 ? -magnitude : magnitude;
}

double cos(double x) {
  const auto [r, quadrant] = reduce_to_quadrant(x);
  const double magnitude = quadrant % 2 ? sin_series(r) : cos_series(r);
  return quadrant == 1 || quadrant == 2 ? -magnitude : magnitude;
}

double power(double x, double y) {
  return exp(y * log(x));
}

}  // namespace salient::core
