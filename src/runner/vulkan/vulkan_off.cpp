#include "core/error.h"
#include "runner/vulkan/vulkan_runner.h"

/// What a build without Vulkan has in the place of the runner.
namespace salient::runner {

std::vector<VulkanAdapter> list_vulkan_adapters() {
  return {};
}

int choose_vulkan_adapter(const std::vector<VulkanAdapter>&) {
  return -1;
}

std::vector<std::string> vulkan_validation_messages() {
  return {};
}

struct VulkanRunner::Parts {
  model::DecoderSpec spec;
  std::shared_ptr<const model::Decoder> decoder;
  VulkanAdapter adapter;
  VulkanFeatures features;
  std::optional<HeadGroups> rounded_head;
};

VulkanRunner::VulkanRunner(std::shared_ptr<const model::Decoder>, core::ThreadPool&, VulkanRunnerOptions) {
  core::fail(core::ErrorKind::kUnsupported, "this build of Salient has no Vulkan runner");
}
VulkanRunner::~VulkanRunner() = default;

// No object is ever made, so none of these is called.
const model::DecoderSpec& VulkanRunner::spec() const {
  return parts_->spec;
}
const model::Decoder& VulkanRunner::decoder() const {
  return *parts_->decoder;
}
const VulkanAdapter& VulkanRunner::adapter() const {
  return parts_->adapter;
}
const VulkanFeatures& VulkanRunner::features() const {
  return parts_->features;
}
Activations VulkanRunner::activations() const {
  return Activations::kFp32;
}
const std::optional<HeadGroups>& VulkanRunner::rounded_head() const {
  return parts_->rounded_head;
}
Sequence VulkanRunner::new_sequence() {
  return Sequence(nullptr);
}
std::vector<float> VulkanRunner::forward(std::span<const TokenRun>) {
  return {};
}
int64_t VulkanRunner::bytes_per_token() const {
  return 0;
}
int64_t VulkanRunner::kv_bytes_per_token() const {
  return 0;
}
int64_t VulkanRunner::dispatches() const {
  return 0;
}

}  // namespace salient::runner
