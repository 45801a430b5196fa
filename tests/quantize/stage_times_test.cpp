#include "quantize/stage_times.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

namespace salient::quantize {
namespace {

void sleep() {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

TEST(StageTimesTest, AStageWithinAnotherIsNotCountedInThatOne) {
  const auto start = std::chrono::steady_clock::now();
  StageTimes times;
  const int result = times.time(Stage::kCalibration, [&] {
    sleep();
    times.time(Stage::kGram, sleep);
    times.time(Stage::kGram, sleep);
    return 7;
  });
  const ByStage seconds = times.seconds();
  const double all = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(result, 7);
  EXPECT_GE(seconds[static_cast<size_t>(Stage::kCalibration)], 0.02);
  EXPECT_GE(seconds[static_cast<size_t>(Stage::kGram)], 0.04);
  EXPECT_EQ(seconds[static_cast<size_t>(Stage::kScales)], 0);
  EXPECT_LE(std::accumulate(seconds.begin(), seconds.end(), 0.0), all);
}

TEST(StageTimesTest, AnExceptionLeavesItsStage) {
  StageTimes times;
  EXPECT_THROW(times.time(Stage::kScales, [] { throw 1; }), int);
  const double scales = times.seconds()[static_cast<size_t>(Stage::kScales)];
  sleep();
  const ByStage seconds = times.seconds();
  EXPECT_EQ(seconds[static_cast<size_t>(Stage::kScales)], scales);
  EXPECT_GE(seconds[static_cast<size_t>(Stage::kOther)], 0.02);
}

}  // namespace
}  // namespace salient::quantize
