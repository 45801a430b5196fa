// What one core multiplies at most: chains of products of int8 numbers that never leave the registers, a billion
// multiply-adds counted as two operations each. One line for each instruction set that this CPU has.

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace {

constexpr int kChains = 12;
constexpr int kRounds = 2'000'000;

/// Operations a second, 1e9, at best, of `step`, which is a product of each of kChains sums, `products` each.
template <typename Step>
double measure(Step step, int products) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  for (int repetition = 0; repetition < 20; ++repetition) {
    const auto start = Clock::now();
    for (int round = 0; round < kRounds; ++round) step();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return 2.0 * products * kChains * kRounds / best * 1e-9;
}

// The sums are named registers, so that nothing but the products runs.
void step_avx512vnni() {
  asm volatile(
      "vpdpbusd %%zmm30, %%zmm31, %%zmm0\n vpdpbusd %%zmm30, %%zmm31, %%zmm1\n vpdpbusd %%zmm30, %%zmm31, %%zmm2\n"
      "vpdpbusd %%zmm30, %%zmm31, %%zmm3\n vpdpbusd %%zmm30, %%zmm31, %%zmm4\n vpdpbusd %%zmm30, %%zmm31, %%zmm5\n"
      "vpdpbusd %%zmm30, %%zmm31, %%zmm6\n vpdpbusd %%zmm30, %%zmm31, %%zmm7\n vpdpbusd %%zmm30, %%zmm31, %%zmm8\n"
      "vpdpbusd %%zmm30, %%zmm31, %%zmm9\n vpdpbusd %%zmm30, %%zmm31, %%zmm10\n vpdpbusd %%zmm30, %%zmm31, %%zmm11\n" ::
          : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
}

/// As the AVX2 kernels add two products of 4-bit codes: a multiplication each, one addition, then both are widened.
void step_avx2() {
  for (int chain = 0; chain < kChains / 6; ++chain) {
    asm volatile(
        "vpmaddubsw %%ymm14, %%ymm15, %%ymm6\n vpmaddubsw %%ymm14, %%ymm15, %%ymm7\n vpaddw %%ymm6, %%ymm7, %%ymm6\n"
        "vpmaddwd %%ymm13, %%ymm6, %%ymm6\n vpaddd %%ymm6, %%ymm0, %%ymm0\n"
        "vpmaddubsw %%ymm14, %%ymm15, %%ymm8\n vpmaddubsw %%ymm14, %%ymm15, %%ymm9\n vpaddw %%ymm8, %%ymm9, %%ymm8\n"
        "vpmaddwd %%ymm13, %%ymm8, %%ymm8\n vpaddd %%ymm8, %%ymm1, %%ymm1\n"
        "vpmaddubsw %%ymm14, %%ymm15, %%ymm10\n vpmaddubsw %%ymm14, %%ymm15, %%ymm11\n vpaddw %%ymm10, %%ymm11, %%ymm10\n"
        "vpmaddwd %%ymm13, %%ymm10, %%ymm10\n vpaddd %%ymm10, %%ymm2, %%ymm2\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
  }
}

}  // namespace

int main() {
  if (__builtin_cpu_supports("avx512vnni")) std::printf("avx512vnni %.0f GOPS\n", measure(step_avx512vnni, 64));
  if (__builtin_cpu_supports("avx2")) std::printf("avx2 %.0f GOPS\n", measure(step_avx2, 32));
}
