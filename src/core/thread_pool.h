#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace salient::core {

/// A fixed set of threads that share work out; the caller is one of them. Between calls workers spin briefly, because
/// the next stage of a decode step comes within microseconds, then sleep. Work is claimed in chunks, and a call waits
/// only for chunks that were claimed: a worker that the system does not run at the moment holds nobody up, so that more
/// threads than free CPUs are not slower than one.
/// One call at a time: from one thread only, and not from inside itself.
class ThreadPool {
 public:
  /// `threads` of 0 means all CPUs this process may use.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(parts_.size()); }

  /// Splits [0, count) into contiguous pieces, whose bounds are multiples of `grain`, and calls body(begin, end) for
  /// each. A thread begins with the same part each time, so that it finds its weights in its own caches and memory, and
  /// then helps others with theirs. The first exception that a body throws is rethrown here, when all are done.
  template <typename Body>
  void split(int64_t count, Body&& body, int64_t grain = 1) {
    const int64_t grains = (count + grain - 1) / grain;
    const int64_t pieces = std::min<int64_t>(grains, int64_t{size()} * kPiecesPerThread);
    if (pieces <= 1 || size() == 1) {
      if (count > 0) body(int64_t{0}, count);
      return;
    }
    const auto piece = [&](int64_t i) {
      body(grains * i / pieces * grain, std::min(grains * (i + 1) / pieces * grain, count));
    };
    run(pieces, size(), piece);
  }

  /// Calls body(index) for every index of [0, count), handed out in order: for work of uneven size. Exceptions as with
  /// `split`.
  template <typename Body>
  void each(int64_t count, Body&& body) {
    if (count <= 1 || size() == 1) {
      for (int64_t i = 0; i < count; ++i) body(i);
      return;
    }
    run(count, 1, body);
  }

 private:
  /// Enough that the others finish what a slow thread leaves, few enough that claiming costs nothing.
  static constexpr int64_t kPiecesPerThread = 4;

  using Call = void (*)(const void* context, int64_t index);

  /// A queue of indices of the current call.
  struct alignas(64) Part {
    std::atomic<uint64_t> claimed = 0;  ///< the call's epoch in the upper half, how many were claimed in the lower
    std::atomic<int64_t> first = 0;
    std::atomic<int64_t> count = 0;
  };

  template <typename Body>
  void run(int64_t count, int parts, const Body& body) {
    run_erased([](const void* context, int64_t index) { (*static_cast<const Body*>(context))(index); }, &body, count,
               parts);
  }
  void run_erased(Call call, const void* context, int64_t count, int parts);
  void work(int thread);
  void take_part(int thread, uint32_t epoch);
  bool claim(Part& part, uint32_t epoch, int64_t& index);
  void do_one(int64_t index);

  std::vector<Part> parts_;  ///< one a thread
  std::vector<std::thread> workers_;
  bool may_spin_;
  std::atomic<Call> call_ = nullptr;
  std::atomic<const void*> context_ = nullptr;
  std::atomic<int64_t> total_ = 0;
  alignas(64) std::atomic<uint32_t> epoch_ = 0;
  alignas(64) std::atomic<int64_t> done_ = 0;
  std::atomic<bool> stopping_ = false;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

}  // namespace salient::core
