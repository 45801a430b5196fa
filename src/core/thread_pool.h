#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace salient::core {

/// A fixed set of threads that run one function together; the caller is thread 0. Between calls workers
/// spin briefly, because the next stage of a decode step comes within microseconds, then sleep.
/// One call at a time: `run` may be called from one thread only, and not from inside itself.
class ThreadPool {
 public:
  /// `threads` of 0 means all CPUs this process may use.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(thread) once on every thread and returns when all are done. The first exception thrown by
  /// a body is rethrown here.
  template <typename Body>
  void run(Body&& body) {
    run_erased([](void* context, int thread) { (*static_cast<std::remove_reference_t<Body>*>(context))(thread); },
               &body);
  }

  /// Splits [0, count) into one contiguous part a thread and calls body(begin, end): each thread meets the
  /// same part each time, so it finds its weights in its own caches and memory.
  template <typename Body>
  void split(int64_t count, Body&& body) {
    if (count <= 1 || size() == 1) {
      if (count > 0) body(int64_t{0}, count);
      return;
    }
    run([&](int thread) {
      const int64_t begin = count * thread / size();
      const int64_t end = count * (thread + 1) / size();
      if (begin < end) body(begin, end);
    });
  }

  /// Calls body(index) for every index of [0, count), handed out one by one: for work of uneven size.
  template <typename Body>
  void each(int64_t count, Body&& body) {
    std::atomic<int64_t> next = 0;
    run([&](int) {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i);
    });
  }

 private:
  using Call = void (*)(void* context, int thread);
  void run_erased(Call call, void* context);
  void work(int thread);
  void call_and_catch(Call call, void* context, int thread);

  std::vector<std::thread> workers_;
  bool may_spin_;
  Call call_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> epoch_ = 0;
  alignas(64) std::atomic<int> running_ = 0;
  std::atomic<bool> stopping_ = false;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

}  // namespace salient::core
