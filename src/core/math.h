#pragma once

#include <cstdint>

/// Elementary functions with the same bits on every system: only IEEE additions, multiplications, divisions and
/// explicit fused multiply-adds in a fixed order. libm's differ between systems and versions.
namespace salient::core {

/// Constants of the fp32 exponential, shared with the vector kernels, which must give the same bits.
/// exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln(2) / 2; exp(r) by its Taylor polynomial of degree 7, whose
/// remainder is below 6e-9 there. ln 2 is split so that n * high is exact.
namespace exp_constants {
inline constexpr float kLog2E = 1.44269504088896341f;
inline constexpr float kLn2High = 0x1.62e4p-1f;
inline constexpr float kLn2Low = 0x1.7f7d1cp-20f;
inline constexpr float kLowest = -87.0f;  ///< below this the result is 0, which keeps it out of the subnormals
inline constexpr float kHighest = 88.0f;  ///< above this the result is that of 88: no infinities arise
inline constexpr float kTaylor[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
}  // namespace exp_constants

/// e^x within 2 ulp; 0 below -87 (and for -infinity), e^88 above 88; a NaN gives 0.
float exp(float x);

/// e^x, ln x and the circular functions in fp64, within about 2 ulp, for finite arguments; exp is 0 below -708 and
/// e^709 above 709, log needs x > 0, and sin and cos |x| below 1e6.
double exp(double x);
double log(double x);
double sin(double x);
double cos(double x);

/// x^y for x > 0, as exp(y ln x).
double power(double x, double y);

}  // namespace salient::core
