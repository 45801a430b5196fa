#include "core/thread_pool.h"

#include <utility>

#include "core/os.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace salient::core {

namespace {

/// About 30 microseconds: longer than the serial gaps inside a decode step, far shorter than a time slice.
constexpr int kSpins = 2000;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

/// Waits until `value` differs from `old`: spins a little if told so, then sleeps.
template <typename T>
void wait_while_equal(const std::atomic<T>& value, T old, bool spin) {
  for (int i = 0; spin && i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const int cpus = os::usable_cpus();
  if (threads <= 0) threads = cpus;
  // With more threads than CPUs a spinning thread only keeps the one it waits for off its CPU.
  may_spin_ = threads <= cpus;
  workers_.reserve(threads - 1);
  for (int thread = 1; thread < threads; ++thread) workers_.emplace_back([this, thread] { work(thread); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(Call call, void* context) {
  if (workers_.empty()) return call(context, 0);
  call_ = call;
  context_ = context;
  running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  call_and_catch(call, context, 0);
  for (int left; (left = running_.load(std::memory_order_acquire)) > 0;) {
    wait_while_equal(running_, left, may_spin_);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    wait_while_equal(epoch_, seen, may_spin_);
    seen = epoch_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    call_and_catch(call_, context_, thread);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
  }
}

void ThreadPool::call_and_catch(Call call, void* context, int thread) {
  try {
    call(context, thread);
  } catch (...) {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

}  // namespace salient::core
