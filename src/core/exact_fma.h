#pragma once

#include <bit>
#include <cstdint>

namespace salient::core {

__extension__ typedef __float128 Float128;
__extension__ typedef unsigned __int128 Bits128;

/// a * b + c, rounded once, without an instruction for it. `Wide` holds every product exactly; the sum is rounded to
/// odd there, after which rounding it again to `Narrow` errs no more (Boldo and Melquiond, "Emulation of a FMA and
/// correctly rounded sums: proved algorithms using rounding to odd", 2008). `Bits` has the size of `Wide`.
template <typename Wide, typename Bits, typename Narrow>
Narrow exact_fma(Narrow a, Narrow b, Narrow c) {
  const Wide product = static_cast<Wide>(a) * static_cast<Wide>(b);
  const Wide addend = c;
  Wide sum = product + addend;
  const Wide taken = sum - product;
  const Wide lost = (product - (sum - taken)) + (addend - taken);
  if (lost > 0 || lost < 0) {
    auto bits = std::bit_cast<Bits>(sum);
    if ((bits & 1) == 0) bits = (lost > 0) == (sum > 0) ? bits + 1 : bits - 1;
    sum = std::bit_cast<Wide>(bits);
  }
  return static_cast<Narrow>(sum);
}

inline float exact_fma(float a, float b, float c) {
  return exact_fma<double, uint64_t>(a, b, c);
}
inline double exact_fma(double a, double b, double c) {
  return exact_fma<Float128, Bits128>(a, b, c);
}

}  // namespace salient::core
