#pragma once

#include <cstdint>
#include <string>

#include "core/buffer.h"
#include "core/thread_pool.h"

namespace salient::evaluate {

/// Measures how fast a device's memory is read.
class MemoryProbe {
 public:
  virtual ~MemoryProbe() = default;
  /// That one sweep reads.
  virtual int64_t bytes() const = 0;
  /// One sweep, timed: 10^9 bytes a second.
  virtual double measure() = 0;
  /// How it reads, for a person: "with 2 threads of ...".
  virtual std::string method() const = 0;
};

/// Reads memory as decoding reads weights, and computes nothing from it: pages of the same kind, every thread of the
/// pool a part of its own in kernels::kReadStreams interleaved streams, with the widest loads of the active kernels.
class BandwidthProbe : public MemoryProbe {
 public:
  /// `bytes` is rounded up to what all streams can share evenly. Should be far more than the caches hold.
  BandwidthProbe(core::ThreadPool& pool, int64_t bytes);

  int64_t bytes() const override { return static_cast<int64_t>(words_.size() * sizeof(uint32_t)); }
  /// Reads everything once and returns the sum of the 32-bit words modulo 2^32; word i is i.
  uint32_t sweep();
  double measure() override;
  std::string method() const override;

 private:
  core::ThreadPool& pool_;
  core::Buffer<uint32_t> words_;
};

/// What a probe should read here: 1 GiB, or a quarter of the free memory where that is less.
int64_t probe_bytes();

}  // namespace salient::evaluate
