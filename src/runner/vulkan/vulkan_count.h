#pragma once

#include <cstdint>
#include <memory>

#include "core/thread_pool.h"
#include "model/decoder.h"
#include "runner/vulkan/vulkan_runner.h"

namespace salient::runner {

/// What decoding one token greedily moves through a device's memory, by the commands that were recorded for it. Each
/// dispatch counts what it needs once: what several of its workgroups read of the same is the business of caches.
struct VulkanTraffic {
  int64_t dispatches = 0;
  int64_t weights = 0;  ///< bytes of the weights, norms and head
  int64_t read = 0;     ///< bytes read, weights included, keys and values of earlier tokens not
  int64_t written = 0;  ///< bytes written
  int64_t cache = 0;    ///< bytes of keys and values read at this depth
  int64_t to_host = 0;  ///< of the written: bytes that the host reads to choose the next token
};

/// Records the decoding of the token after `depth` others, without computing it: room for weights is made on the
/// device, but nothing is read from the checkpoint for it. Throws what making a runner does.
VulkanTraffic count_vulkan_traffic(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                                   const VulkanRunnerOptions& options, int64_t depth);

}  // namespace salient::runner
