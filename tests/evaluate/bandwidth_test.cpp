#include "evaluate/bandwidth.h"

#include <gtest/gtest.h>

namespace salient::evaluate {
namespace {

TEST(BandwidthProbe, ReadsEveryWordOnceOnAnyNumberOfThreads) {
  for (const int threads : {1, 2, 3, 5}) {
    core::ThreadPool pool(threads);
    BandwidthProbe probe(pool, 1 << 20);
    const auto words = static_cast<uint64_t>(probe.bytes()) / 4;
    // A word is its index: the sum is 0 + 1 + ... + (words - 1).
    EXPECT_EQ(probe.sweep(), static_cast<uint32_t>(words * (words - 1) / 2)) << threads << " threads";
  }
}

TEST(BandwidthProbe, RoundsUpToWholeLinesOfEveryStream) {
  core::ThreadPool pool(3);
  // 4 streams of 64 bytes on each of 3 threads are 768 bytes.
  EXPECT_EQ(BandwidthProbe(pool, 768).bytes(), 768);
  EXPECT_EQ(BandwidthProbe(pool, 769).bytes(), 2 * 768);
  EXPECT_EQ(BandwidthProbe(pool, 1).bytes(), 768);
}

TEST(BandwidthProbe, GivesARate) {
  core::ThreadPool pool(2);
  EXPECT_GT(BandwidthProbe(pool, 1 << 20).measure(), 0);
}

TEST(ProbeBytes, AreAtMostAGibibyte) {
  EXPECT_GT(probe_bytes(), 0);
  EXPECT_LE(probe_bytes(), int64_t{1} << 30);
}

}  // namespace
}  // namespace salient::evaluate
