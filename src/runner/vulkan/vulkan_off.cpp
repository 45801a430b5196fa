#include "core/error.h"
#include "runner/vulkan/vulkan_bandwidth.h"
#include "runner/vulkan/vulkan_count.h"
#include "runner/vulkan/vulkan_runner.h"

/// What a build without Vulkan has in the place of the runner.
namespace salient::runner {

namespace {

constexpr const char* kAbsence = "this build of Salient has no Vulkan runner";

}  // namespace

std::vector<VulkanAdapter> list_vulkan_adapters() {
  return {};
}

std::string why_no_vulkan_adapter() {
  return kAbsence;
}

int choose_vulkan_adapter(const std::vector<VulkanAdapter>&) {
  return -1;
}

std::vector<std::string> vulkan_validation_messages() {
  return {};
}

std::unique_ptr<ModelRunner> make_vulkan_runner(std::shared_ptr<const model::Decoder>, core::ThreadPool&,
                                                VulkanRunnerOptions) {
  core::fail(core::ErrorKind::kUnsupported, "{}", kAbsence);
}

VulkanTraffic count_vulkan_traffic(std::shared_ptr<const model::Decoder>, core::ThreadPool&, const VulkanRunnerOptions&,
                                   int64_t) {
  core::fail(core::ErrorKind::kUnsupported, "{}", kAbsence);
}

struct VulkanBandwidthProbe::Parts {};

VulkanBandwidthProbe::VulkanBandwidthProbe(int) {
  core::fail(core::ErrorKind::kUnsupported, "{}", kAbsence);
}
VulkanBandwidthProbe::~VulkanBandwidthProbe() = default;
// No object is ever made, so none of these is called.
int64_t VulkanBandwidthProbe::bytes() const {
  return 0;
}
double VulkanBandwidthProbe::read() {
  return 0;
}
double VulkanBandwidthProbe::copy() {
  return 0;
}

}  // namespace salient::runner
