#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "model/decoder_spec.h"
#include "runner/sequence.h"
#include "runner/vulkan/command_list.h"
#include "runner/vulkan/device_memory.h"

namespace salient::runner {

/// Keys and values on the device in fp16 or int8: for each layer the pages of all sequences, [pages][kv_heads][keys,
/// values], each as shaders/cache.glsl describes it. A layer's part is bound as a whole; page ids count in it. It
/// doubles, with a copy, when pages run out.
class VulkanKvCache : public PagePool {
 public:
  VulkanKvCache(std::shared_ptr<const VulkanDevice> device, Pipelines& pipelines, const model::DecoderSpec& spec,
                core::DType dtype);

  int64_t page_tokens() const override { return kPageKeys; }
  /// kF16 or kI8.
  core::DType dtype() const { return dtype_; }
  int64_t bytes_per_token() const { return layers_ * page_bytes_ / kPageKeys; }
  int64_t most_pages() const;
  DeviceSlice layer(int64_t index) const;
  /// What it takes once there is a page.
  static uint64_t first_bytes(const model::DecoderSpec& spec, core::DType dtype);
  /// Changes when buffers were replaced: recordings that bind them have to be made again.
  int64_t generation() const { return generation_; }

  static constexpr int64_t kPageKeys = 64;

 protected:
  void add_page() override;
  void copy_page(int32_t from, int32_t to) override;

 private:
  void grow(DeviceBuffer& buffer, uint64_t bytes);

  std::shared_ptr<const VulkanDevice> device_;  ///< sequences may outlive their runner
  CommandList commands_;
  core::DType dtype_;
  int64_t layers_;
  int64_t page_bytes_;  ///< of one layer
  int64_t capacity_ = 0;
  int64_t pages_ = 0;
  int64_t generation_ = 0;
  std::vector<DeviceBuffer> buffers_;  ///< one a layer
};

}  // namespace salient::runner
