#include "runner/vulkan/vulkan_runner.h"

#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "runner/token_runs.h"
#include "runner/vulkan/vulkan_model.h"

namespace salient::runner {

struct VulkanRunner::Parts {
  VulkanModel model;
  bool is_lost = false;
};

VulkanRunner::VulkanRunner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                           VulkanRunnerOptions options) {
  translate_errors("Vulkan",
                   [&] { parts_.reset(new Parts{VulkanModel(std::move(decoder), pool, std::move(options))}); });
}

VulkanRunner::~VulkanRunner() = default;

const model::DecoderSpec& VulkanRunner::spec() const {
  return parts_->model.spec();
}

const model::Decoder& VulkanRunner::decoder() const {
  return parts_->model.decoder();
}

const VulkanAdapter& VulkanRunner::adapter() const {
  return parts_->model.device().adapter();
}

const VulkanFeatures& VulkanRunner::features() const {
  return parts_->model.device().features();
}

std::string VulkanRunner::device() const {
  return fmt::format("gpu:{}", adapter().index);
}

std::string VulkanRunner::device_description() const {
  return fmt::format("{} {} ({}), subgroups {}, integer dot products {}", device(), adapter().name, adapter().type,
                     features().subgroups ? "on" : "off", features().integer_dot ? "on" : "off");
}

core::ThreadPool& VulkanRunner::pool() {
  return parts_->model.pool();
}

Activations VulkanRunner::activations() const {
  return parts_->model.activations();
}

core::DType VulkanRunner::kv_dtype() const {
  return parts_->model.cache()->dtype();
}

const std::optional<HeadGroups>& VulkanRunner::rounded_head() const {
  return parts_->model.rounded_head();
}

Sequence VulkanRunner::new_sequence() {
  return Sequence(parts_->model.cache());
}

std::vector<float> VulkanRunner::forward(std::span<const TokenRun> runs) {
  check_tokens(spec(), runs);
  if (parts_->is_lost) {
    core::fail(core::ErrorKind::kDeviceLost, "{}: the device was lost: the model has to be opened again",
               adapter().name);
  }
  try {
    return translate_errors(adapter().name, [&] {
      for (const TokenRun& run : runs) parts_->model.choose_regime(run);
      return keep_lengths_on_failure(runs, [&] { return parts_->model.run(runs); });
    });
  } catch (const core::Error& error) {
    parts_->is_lost = error.kind() == core::ErrorKind::kDeviceLost;
    throw;
  }
}

int64_t VulkanRunner::bytes_per_token() const {
  return parts_->model.bytes_per_token();
}

int64_t VulkanRunner::kv_bytes_per_token() const {
  return parts_->model.cache()->bytes_per_token();
}

int64_t VulkanRunner::most_kv_tokens() const {
  return parts_->model.cache()->most_pages() * VulkanKvCache::kPageKeys;
}

uint64_t VulkanRunner::available_memory() const {
  return parts_->model.device().available_memory();
}

bool VulkanRunner::is_lost() const {
  return parts_->is_lost;
}

int64_t VulkanRunner::dispatches() const {
  return parts_->model.pass().dispatches();
}

std::unique_ptr<ModelRunner> make_vulkan_runner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                                                VulkanRunnerOptions options) {
  return std::make_unique<VulkanRunner>(std::move(decoder), pool, std::move(options));
}

}  // namespace salient::runner
