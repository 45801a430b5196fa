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

  VulkanOutput run(std::span<const TokenRun> runs, int64_t top_count);
};

VulkanOutput VulkanRunner::Parts::run(std::span<const TokenRun> runs, int64_t top_count) {
  const std::string& name = model.device().adapter().name;
  check_tokens(model.spec(), runs);
  if (is_lost) {
    core::fail(core::ErrorKind::kDeviceLost, "{}: the device was lost: the model has to be opened again", name);
  }
  try {
    return translate_errors(name, [&] {
      for (const TokenRun& run : runs) model.choose_regime(run);
      return keep_lengths_on_failure(runs, [&] { return model.run(runs, top_count); });
    });
  } catch (const core::Error& error) {
    is_lost = error.kind() == core::ErrorKind::kDeviceLost;
    throw;
  }
}

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
  return parts_->run(runs, 0).logits;
}

int64_t VulkanRunner::most_top_logits() const {
  return parts_->model.most_top_logits();
}

std::vector<std::vector<TokenLogit>> VulkanRunner::top_logits(std::span<const TokenRun> runs, int64_t count) {
  if (count < 1 || count > most_top_logits()) {
    core::fail(core::ErrorKind::kInvalidInput, "the {} largest logits are asked for, expected 1 to {}", count,
               most_top_logits());
  }
  return parts_->run(runs, count).top_logits;
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
