#include "runner/vulkan/command_list.h"

#include <array>

#include "core/error.h"

namespace salient::runner {

namespace {

constexpr uint32_t kSetsPerPool = 256;

}  // namespace

CommandList::CommandList(const VulkanDevice& device, Pipelines& pipelines)
    : device_(device),
      pipelines_(pipelines),
      pool_(device.handle().createCommandPoolUnique(
          {vk::CommandPoolCreateFlagBits::eResetCommandBuffer, device.queue_family()})),
      commands_(std::move(
          device.handle().allocateCommandBuffersUnique({*pool_, vk::CommandBufferLevel::ePrimary, 1}).front())) {}

void CommandList::begin() {
  used_sets_ = 0;
  dispatches_ = 0;
  traffic_ = {};
  // A recording that an error ended is not finished.
  commands_->reset();
  commands_->begin(vk::CommandBufferBeginInfo());
}

void CommandList::end() {
  // What the host reads after the run.
  const vk::MemoryBarrier barrier(vk::AccessFlagBits::eTransferWrite, vk::AccessFlagBits::eHostRead);
  commands_->pipelineBarrier(vk::PipelineStageFlagBits::eTransfer, vk::PipelineStageFlagBits::eHost, {}, barrier, {},
                             {});
  commands_->end();
}

vk::DescriptorSet CommandList::next_set() {
  if (used_sets_ == sets_.size()) {
    const vk::DescriptorPoolSize size(vk::DescriptorType::eStorageBuffer, kSetsPerPool * kMostBindings);
    set_pools_.push_back(device_.handle().createDescriptorPoolUnique({{}, kSetsPerPool, size}));
    const std::vector<vk::DescriptorSetLayout> layouts(kSetsPerPool, pipelines_.set_layout());
    const auto more = device_.handle().allocateDescriptorSets({*set_pools_.back(), layouts});
    sets_.insert(sets_.end(), more.begin(), more.end());
  }
  return sets_[used_sets_++];
}

void CommandList::record(Shader shader, std::span<const uint32_t> constants, std::span<const std::byte> push,
                         std::span<const DeviceSlice> slices, const GroupCount& groups) {
  const auto& most = device_.limits().maxComputeWorkGroupCount;
  if (groups.x > most[0] || groups.y > most[1] || groups.z > most[2]) {
    core::fail(core::ErrorKind::kUnsupported, "{}: a dispatch needs {} x {} x {} workgroups, it takes {} x {} x {}",
               device_.adapter().name, groups.x, groups.y, groups.z, most[0], most[1], most[2]);
  }
  const vk::DescriptorSet set = next_set();
  std::array<vk::DescriptorBufferInfo, kMostBindings> buffers;
  for (size_t i = 0; i < kMostBindings; ++i) {
    // Bindings that a shader does not use get what the first has.
    const DeviceSlice& slice = slices[i < slices.size() && slices[i].buffer ? i : 0];
    buffers[i] = vk::DescriptorBufferInfo(slice.buffer, slice.offset, slice.bytes);
  }
  const vk::WriteDescriptorSet write(set, 0, 0, vk::DescriptorType::eStorageBuffer, {}, buffers);
  device_.handle().updateDescriptorSets(write, {});
  commands_->bindPipeline(vk::PipelineBindPoint::eCompute, pipelines_.get(shader, constants));
  commands_->bindDescriptorSets(vk::PipelineBindPoint::eCompute, pipelines_.layout(), 0, set, {});
  commands_->pushConstants(pipelines_.layout(), vk::ShaderStageFlagBits::eCompute, 0,
                           static_cast<uint32_t>(push.size()), push.data());
  commands_->dispatch(static_cast<uint32_t>(groups.x), static_cast<uint32_t>(groups.y),
                      static_cast<uint32_t>(groups.z));
  ++dispatches_;
}

void CommandList::copy(const DeviceSlice& from, const DeviceSlice& to) {
  add({static_cast<int64_t>(from.bytes), static_cast<int64_t>(from.bytes)});
  commands_->copyBuffer(from.buffer, to.buffer, vk::BufferCopy(from.offset, to.offset, from.bytes));
}

void CommandList::fill(const DeviceSlice& slice, uint32_t word) {
  add({0, static_cast<int64_t>(slice.bytes)});
  commands_->fillBuffer(slice.buffer, slice.offset, slice.bytes, word);
}

void CommandList::barrier() {
  using Stage = vk::PipelineStageFlagBits;
  using Access = vk::AccessFlagBits;
  const vk::MemoryBarrier barrier(
      Access::eShaderWrite | Access::eTransferWrite,
      Access::eShaderRead | Access::eShaderWrite | Access::eTransferRead | Access::eTransferWrite);
  const auto stages = Stage::eComputeShader | Stage::eTransfer;
  commands_->pipelineBarrier(stages, stages, {}, barrier, {}, {});
}

}  // namespace salient::runner
