#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/os.h"

namespace salient::core {
namespace {

constexpr int kThreadCounts[] = {1, 2, 3, 7};
constexpr int64_t kCounts[] = {0, 1, 2, 3, 6, 7, 8, 100, 1001};

bool all_once(const std::vector<std::atomic<int>>& visits) {
  return std::all_of(visits.begin(), visits.end(), [](const auto& visit) { return visit.load() == 1; });
}

TEST(ThreadPool, TakesAllCpusByDefault) {
  EXPECT_EQ(ThreadPool().size(), os::usable_cpus());
}

TEST(ThreadPool, SplitsEveryIndexToExactlyOnePiece) {
  for (const int threads : kThreadCounts) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (const int64_t count : kCounts) {
      for (const int64_t grain : {1, 4, 5, 2000}) {
        std::vector<std::atomic<int>> visits(count);
        pool.split(
            count,
            [&](int64_t begin, int64_t end) {
              EXPECT_LT(begin, end);
              EXPECT_EQ(begin % grain, 0);
              EXPECT_TRUE(end == count || end % grain == 0);
              for (int64_t i = begin; i < end; ++i) ++visits[i];
            },
            grain);
        EXPECT_TRUE(all_once(visits)) << count << " by " << grain << " on " << threads << " threads";
      }
    }
  }
}

TEST(ThreadPool, HandsOutEachIndexOnce) {
  for (const int threads : kThreadCounts) {
    ThreadPool pool(threads);
    for (const int64_t count : kCounts) {
      std::vector<std::atomic<int>> visits(count);
      pool.each(count, [&](int64_t i) { ++visits[i]; });
      EXPECT_TRUE(all_once(visits)) << count << " on " << threads << " threads";
    }
  }
}

/// Workers that come late to a short call meet the next one, which has more or fewer indices: none may be done twice or
/// left out.
TEST(ThreadPool, DoesManyShortCallsOfChangingSize) {
  for (const int threads : {2, 3, 7}) {
    ThreadPool pool(threads);
    std::vector<std::atomic<int>> visits(24);
    for (int i = 0; i < 20000; ++i) {
      const int64_t count = 2 + i * 7 % 23;
      if (i % 3 == 0) {
        pool.each(count, [&](int64_t index) { ++visits[index]; });
      } else {
        pool.split(count, [&](int64_t begin, int64_t end) {
          for (int64_t index = begin; index < end; ++index) ++visits[index];
        });
      }
      for (int64_t index = 0; index < std::ssize(visits); ++index) {
        ASSERT_EQ(visits[index].exchange(0), index < count ? 1 : 0) << "index " << index << " of " << count;
      }
    }
  }
}

/// All workers are held in the first call's last indices; a call must not wait for workers that have claimed nothing.
TEST(ThreadPool, DoesNotWaitForWorkersThatAreElsewhere) {
  ThreadPool pool(2);
  std::atomic<bool> worker_is_in = false;
  std::atomic<bool> release = false;
  std::thread::id caller = std::this_thread::get_id();
  // The worker takes one index and stays there until the caller, who does all the others, lets it go.
  std::atomic<int> done_by_caller = 0;
  pool.each(50, [&](int64_t) {
    if (std::this_thread::get_id() != caller) {
      worker_is_in = true;
      while (!release) std::this_thread::yield();
      return;
    }
    for (int i = 0; i < 1000 && !worker_is_in; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (++done_by_caller == 49) release = true;
  });
  EXPECT_EQ(done_by_caller, 49);
}

TEST(ThreadPool, RethrowsWhatABodyThrowsAndGoesOn) {
  for (const int threads : kThreadCounts) {
    ThreadPool pool(threads);
    for (int64_t thrower = 0; thrower < 9; ++thrower) {
      EXPECT_THROW(pool.each(9,
                             [&](int64_t i) {
                               if (i == thrower) throw std::runtime_error("refused");
                             }),
                   std::runtime_error);
      std::vector<std::atomic<int>> visits(9);
      pool.each(9, [&](int64_t i) { ++visits[i]; });
      EXPECT_TRUE(all_once(visits)) << threads << " threads after index " << thrower;
    }
  }
}

TEST(ThreadPool, RethrowsOneOfManyExceptionsOnce) {
  ThreadPool pool(4);
  EXPECT_THROW(pool.split(8, [](int64_t, int64_t) { throw std::logic_error("refused"); }), std::logic_error);
  EXPECT_THROW(pool.each(8, [](int64_t) { throw std::out_of_range("refused"); }), std::out_of_range);
  EXPECT_NO_THROW(pool.each(8, [](int64_t) {}));
}

}  // namespace
}  // namespace salient::core
