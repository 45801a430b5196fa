#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runner/runner.h"
#include "runner/vulkan/command_list.h"
#include "runner/vulkan/device_memory.h"

namespace salient::runner {

/// Finds the largest logits of rows on the device, so that only they come back to the host.
class VulkanTopLogits {
 public:
  /// Of a row at most.
  static constexpr int64_t kMost = 128;

  /// Makes room for `rows` rows of `size` logits.
  VulkanTopLogits(const VulkanDevice& device, int64_t rows, int64_t size);

  /// The places of a row's result: `count` rounded up, as shaders are compiled and recordings made for few numbers.
  static int64_t places(int64_t count);
  /// Of the device's memory, for `rows` rows of `size` logits.
  static uint64_t bytes(int64_t rows, int64_t size);

  /// Records the search in `logits`, fp32 [rows, size]; begins with a barrier, and the caller puts one before it reads
  /// the result, [rows, places]. Rows and size are at most those of the constructor.
  DeviceSlice record(CommandList& commands, const DeviceSlice& logits, int64_t rows, int64_t size,
                     int64_t places) const;

  /// The first `count` of a row of the result, without what is no number.
  static std::vector<TokenLogit> read(const TokenLogit* row, int64_t count);

 private:
  std::array<DeviceBuffer, 2> candidates_;  ///< of the first search and of all later ones in turn
};

}  // namespace salient::runner
