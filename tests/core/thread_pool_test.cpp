#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "core/os.h"

namespace salient::core {
namespace {

constexpr int kThreadCounts[] = {1, 2, 3, 7};
constexpr int64_t kCounts[] = {0, 1, 2, 3, 6, 7, 8, 100, 1001};

bool all_once(const std::vector<std::atomic<int>>& visits) {
  return std::all_of(visits.begin(), visits.end(), [](const auto& visit) { return visit.load() == 1; });
}

TEST(ThreadPool, RunsTheBodyOnceOnEveryThread) {
  for (const int threads : kThreadCounts) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (int repetition = 0; repetition < 50; ++repetition) {
      std::vector<std::atomic<int>> visits(threads);
      pool.run([&](int thread) { ++visits[thread]; });
      ASSERT_TRUE(all_once(visits)) << threads << " threads";
    }
  }
}

TEST(ThreadPool, RunsTheCallersPartOnTheCaller) {
  ThreadPool pool(3);
  std::thread::id zero;
  pool.run([&](int thread) {
    if (thread == 0) zero = std::this_thread::get_id();
  });
  EXPECT_EQ(zero, std::this_thread::get_id());
}

TEST(ThreadPool, TakesAllCpusByDefault) {
  EXPECT_EQ(ThreadPool().size(), os::usable_cpus());
}

TEST(ThreadPool, SplitsEveryIndexToExactlyOnePart) {
  for (const int threads : kThreadCounts) {
    ThreadPool pool(threads);
    for (const int64_t count : kCounts) {
      std::vector<std::atomic<int>> visits(count);
      pool.split(count, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++visits[i];
      });
      EXPECT_TRUE(all_once(visits)) << count << " on " << threads << " threads";
    }
  }
}

TEST(ThreadPool, GivesEachThreadTheSamePartEachTime) {
  ThreadPool pool(3);
  std::mutex mutex;
  const auto parts = [&] {
    std::map<std::thread::id, std::pair<int64_t, int64_t>> found;
    pool.split(10, [&](int64_t begin, int64_t end) {
      const std::lock_guard lock(mutex);
      found[std::this_thread::get_id()] = {begin, end};
    });
    return found;
  };
  const auto first = parts();
  EXPECT_EQ(first.size(), 3u);
  EXPECT_EQ(parts(), first);
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

TEST(ThreadPool, RethrowsWhatABodyThrowsAndGoesOn) {
  for (const int threads : kThreadCounts) {
    ThreadPool pool(threads);
    for (int thrower = 0; thrower < threads; ++thrower) {
      EXPECT_THROW(pool.run([&](int thread) {
        if (thread == thrower) throw std::runtime_error("refused");
      }),
                   std::runtime_error);
      std::vector<std::atomic<int>> visits(threads);
      pool.run([&](int thread) { ++visits[thread]; });
      EXPECT_TRUE(all_once(visits)) << threads << " threads after thread " << thrower;
    }
  }
}

TEST(ThreadPool, RethrowsOneOfManyExceptionsOnce) {
  ThreadPool pool(4);
  EXPECT_THROW(pool.run([](int) { throw std::runtime_error("refused"); }), std::runtime_error);
  EXPECT_THROW(pool.split(8, [](int64_t, int64_t) { throw std::logic_error("refused"); }), std::logic_error);
  EXPECT_THROW(pool.each(8, [](int64_t) { throw std::out_of_range("refused"); }), std::out_of_range);
  EXPECT_NO_THROW(pool.run([](int) {}));
}

}  // namespace
}  // namespace salient::core
