#pragma once

#include <cstdint>
#include <initializer_list>

namespace salient::core {

/// A random number that depends only on what it is for: the same seed, stream and counter give the same bits on every
/// machine, in any order of asking. Three rounds of the SplitMix64 finalizer (Steele, Lea and Flood, "Fast
/// Splittable Pseudorandom Number Generators", 2014), one for each input.
inline uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t counter) {
  uint64_t state = 0;
  for (const uint64_t input : {seed, stream, counter}) {
    state += input + 0x9e3779b97f4a7c15u;
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
    state = (state ^ (state >> 27)) * 0x94d049bb133111ebu;
    state ^= state >> 31;
  }
  return state;
}

/// Uniform in [0, 1), with 53 random bits.
inline double random_uniform(uint64_t seed, uint64_t stream, uint64_t counter) {
  return static_cast<double>(random_bits(seed, stream, counter) >> 11) * 0x1p-53;
}

}  // namespace salient::core
