#include "runner/vulkan/vulkan_count.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runner/vulkan/vulkan_model.h"

namespace salient::runner {

VulkanTraffic count_vulkan_traffic(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                                   const VulkanRunnerOptions& options, int64_t depth) {
  return translate_errors("Vulkan", [&] {
    VulkanModel model(std::move(decoder), pool, options, Weights::kRoomOnly);
    const int64_t pages = depth / VulkanKvCache::kPageKeys + 1;
    if (pages > model.cache()->most_pages()) {
      core::fail(core::ErrorKind::kOutOfMemory, "{}: it can hold keys and values of {} tokens, {} are asked for",
                 model.device().adapter().name, model.cache()->most_pages() * VulkanKvCache::kPageKeys, depth + 1);
    }
    // One page makes the buffers that are recorded; nothing reads the others.
    Sequence sequence(model.cache());
    sequence.extend(1);
    const int64_t top_count = std::min<int64_t>(model.most_top_logits(), 1);
    const Traffic traffic =
        model.pass().count({0, 1, depth, false, std::vector<int32_t>(static_cast<size_t>(pages))}, top_count);
    return VulkanTraffic{model.pass().dispatches(),
                         model.bytes_per_token(),
                         traffic.read,
                         traffic.written,
                         keys_seen(model.spec(), depth + 1) * model.cache()->bytes_per_token() / model.spec().layers,
                         model.pass().read_back_bytes(top_count)};
  });
}

}  // namespace salient::runner
