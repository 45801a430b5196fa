#pragma once

#include <cstdint>
#include <memory>

namespace salient::runner {

/// Measures how fast a Vulkan device reads its memory as the GEMV does, 16 bytes a thread side by side, and how fast it
/// copies it.
class VulkanBandwidthProbe {
 public:
  /// Takes a quarter of the device's free memory, 512 MiB at most. Throws what opening the device does.
  explicit VulkanBandwidthProbe(int adapter);
  ~VulkanBandwidthProbe();

  /// That one sweep reads.
  int64_t bytes() const;
  /// One sweep, timed on the host: 10^9 bytes read a second.
  double read();
  /// One copy of half of the bytes to the other half: 10^9 bytes a second, those read and those written.
  double copy();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace salient::runner
