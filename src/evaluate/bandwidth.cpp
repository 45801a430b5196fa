#include "evaluate/bandwidth.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "core/error.h"
#include "core/os.h"
#include "kernels/kernels.h"

namespace salient::evaluate {

namespace {

/// What sum_words wants a multiple of.
constexpr int64_t kBlockWords = int64_t{kernels::kReadStreams} * kernels::kLanes;

size_t round_up(int64_t bytes, int threads) {
  const int64_t unit = kBlockWords * threads;
  const int64_t words = (bytes + 3) / 4;
  return static_cast<size_t>((words + unit - 1) / unit * unit);
}

}  // namespace

BandwidthProbe::BandwidthProbe(core::ThreadPool& pool, int64_t bytes)
    : pool_(pool), words_(round_up(bytes, pool.size())) {
  pool_.split(std::ssize(words_.span()), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) words_[i] = static_cast<uint32_t>(i);
  });
}

uint32_t BandwidthProbe::sweep() {
  const kernels::KernelSet& kernels = kernels::active_kernels();
  std::atomic<uint32_t> sum = 0;
  pool_.split(std::ssize(words_.span()) / kBlockWords, [&](int64_t begin, int64_t end) {
    sum += kernels.sum_words(words_.data() + begin * kBlockWords, (end - begin) * kBlockWords);
  });
  return sum;
}

double BandwidthProbe::measure() {
  const auto start = std::chrono::steady_clock::now();
  const uint32_t sum = sweep();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const uint64_t count = words_.size();
  if (sum != static_cast<uint32_t>(count * (count - 1) / 2)) {
    core::fail(core::ErrorKind::kInternal, "the words read for bandwidth add up to {}, which they should not", sum);
  }
  return static_cast<double>(bytes()) / seconds / 1e9;
}

std::string BandwidthProbe::method() const {
  return fmt::format("with as many threads, {} streams each, in pages like those of the weights",
                     kernels::kReadStreams);
}

int64_t probe_bytes() {
  constexpr uint64_t kWanted = uint64_t{1} << 30;
  return static_cast<int64_t>(std::min(kWanted, core::os::available_memory() / 4));
}

}  // namespace salient::evaluate
