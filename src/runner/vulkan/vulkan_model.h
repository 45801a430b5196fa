#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runner/vulkan/vulkan_pass.h"
#include "runner/vulkan/vulkan_runner.h"

namespace salient::runner {

/// A decoder on a device: its weights, keys and values, and the pass through them.
class VulkanModel {
 public:
  VulkanModel(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool, VulkanRunnerOptions options,
              Weights weights = Weights::kUploaded);

  const model::DecoderSpec& spec() const { return decoder_->spec(); }
  const model::Decoder& decoder() const { return *decoder_; }
  const VulkanDevice& device() const { return *device_; }
  core::ThreadPool& pool() const { return pool_; }
  Activations activations() const { return activations_; }
  const std::optional<HeadGroups>& rounded_head() const { return rounded_head_; }
  const std::shared_ptr<VulkanKvCache>& cache() const { return cache_; }
  VulkanPass& pass() { return *pass_; }
  int64_t bytes_per_token() const;

  /// Puts a sequence into the rotary regime of its coming length; what it holds in the other is computed again.
  void choose_regime(const TokenRun& run);
  /// See Runner::most_top_logits. The host caps logits, which makes equals of some that differ: a capped row's largest
  /// are not known before.
  int64_t most_top_logits() const { return spec().logit_soft_cap > 0 ? 0 : VulkanTopLogits::kMost; }
  /// Appends runs and returns their wanted logits: all, or the `top_count` largest of each row.
  VulkanOutput run(std::span<const TokenRun> runs, int64_t top_count);

 private:
  void check_memory() const;
  void pack(Weights weights);
  void embed(std::span<const int32_t> tokens, std::vector<float>& hidden) const;

  std::shared_ptr<const model::Decoder> decoder_;
  core::ThreadPool& pool_;
  VulkanRunnerOptions options_;
  std::shared_ptr<const VulkanDevice> device_;
  Activations activations_;
  std::optional<HeadGroups> rounded_head_;
  core::LinearWeights embeddings_;
  Pipelines pipelines_;
  DeviceArena arena_;
  VulkanWeights weights_;
  std::shared_ptr<VulkanKvCache> cache_;
  std::optional<VulkanPass> pass_;
};

}  // namespace salient::runner
