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
  while (value.load(std::memory_order_acquire) == old) os::sleep_while_equal(value, old);
}

}  // namespace

ThreadPool::ThreadPool(int threads) : parts_(threads > 0 ? threads : os::usable_cpus()) {
  // With more threads than CPUs a spinning thread only keeps the one it waits for off its CPU.
  may_spin_ = size() <= os::usable_cpus();
  workers_.reserve(size() - 1);
  for (int thread = 1; thread < size(); ++thread) workers_.emplace_back([this, thread] { work(thread); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_release);
  os::wake_all(epoch_);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(Call call, const void* context, int64_t count, int parts) {
  const uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
  // A worker that is late for the last call may look at the queues at any time. From here on it can claim nothing: not
  // with the new numbers below either, which are seen only together with this.
  for (Part& part : parts_) part.claimed.store(uint64_t{epoch} << 32 | UINT32_MAX, std::memory_order_relaxed);
  call_.store(call, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  total_.store(count, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  for (int i = 0; i < size(); ++i) {
    const int64_t first = i < parts ? count * i / parts : count;
    const int64_t end = i < parts ? count * (i + 1) / parts : count;
    parts_[i].first.store(first, std::memory_order_release);
    parts_[i].count.store(end - first, std::memory_order_release);
    parts_[i].claimed.store(uint64_t{epoch} << 32, std::memory_order_release);
  }
  epoch_.store(epoch, std::memory_order_release);
  os::wake_all(epoch_);
  take_part(0, epoch);
  for (int64_t done; (done = done_.load(std::memory_order_acquire)) < count;) wait_while_equal(done_, done, may_spin_);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    wait_while_equal(epoch_, seen, may_spin_);
    seen = epoch_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    take_part(thread, seen);
  }
}

void ThreadPool::take_part(int thread, uint32_t epoch) {
  for (int i = 0; i < size(); ++i) {
    Part& part = parts_[(thread + i) % size()];
    for (int64_t index; claim(part, epoch, index);) do_one(index);
  }
}

/// Claims the next index of a part, if the call of that epoch still has one there.
bool ThreadPool::claim(Part& part, uint32_t epoch, int64_t& index) {
  uint64_t claimed = part.claimed.load(std::memory_order_acquire);
  for (;;) {
    const auto next = static_cast<int64_t>(claimed & UINT32_MAX);
    if (claimed >> 32 != epoch || next >= part.count.load(std::memory_order_acquire)) return false;
    index = part.first.load(std::memory_order_acquire) + next;
    // It fails when another call has begun meanwhile, whose numbers those may have been: they come after a new epoch.
    if (part.claimed.compare_exchange_weak(claimed, claimed + 1, std::memory_order_acq_rel)) return true;
  }
}

void ThreadPool::do_one(int64_t index) {
  // What is claimed is not done, so these are still the call's.
  const int64_t total = total_.load(std::memory_order_relaxed);
  try {
    call_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), index);
  } catch (...) {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
  if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == total) os::wake_one(done_);
}

}  // namespace salient::core
