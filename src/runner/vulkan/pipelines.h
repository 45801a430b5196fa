#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <utility>
#include <vector>
#include <vulkan/vulkan.hpp>

#include "runner/vulkan/vulkan_device.h"

namespace salient::runner {

/// The programs of shaders/.
enum class Shader {
  kGemv,
  kGemvInt8,
  kGemm,
  kQuantize,
  kNorm,
  kRotate,
  kAttention,
  kMerge,
  kActivate,
  kGather,
  kTopLogits,
  kSweep
};

/// Storage buffers that every shader may bind, and bytes of push constants.
inline constexpr uint32_t kMostBindings = 8;
inline constexpr uint32_t kPushBytes = 32;

/// Compiles shaders for the values of their specialization constants, each once, in the variant that the features in
/// use allow. What the driver compiled is kept in the cache folder between processes.
class Pipelines {
 public:
  explicit Pipelines(const VulkanDevice& device);
  ~Pipelines();

  /// `constants` are those of ids 0, 1, ...
  vk::Pipeline get(Shader shader, std::span<const uint32_t> constants);
  vk::PipelineLayout layout() const { return *layout_; }
  vk::DescriptorSetLayout set_layout() const { return *set_layout_; }

 private:
  vk::UniquePipeline compile(Shader shader, std::span<const uint32_t> constants);
  void save() const;

  const VulkanDevice& device_;
  std::filesystem::path cache_file_;  ///< empty: none
  size_t loaded_bytes_ = 0;
  vk::UniquePipelineCache cache_;
  vk::UniqueDescriptorSetLayout set_layout_;
  vk::UniquePipelineLayout layout_;
  std::map<Shader, vk::UniqueShaderModule> modules_;
  std::map<std::pair<Shader, std::vector<uint32_t>>, vk::UniquePipeline> pipelines_;
};

}  // namespace salient::runner
