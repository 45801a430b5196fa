#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/progress.h"
#include "core/thread_pool.h"
#include "model/decoder.h"
#include "runner/model_runner.h"
#include "runner/vulkan/vulkan_adapter.h"

namespace salient::runner {

struct VulkanRunnerOptions {
  int adapter = 0;  ///< VulkanAdapter::index
  VulkanFeatures features = {};
  /// Of quantized linears while few tokens are computed at once; unset: int8 where the device multiplies that in one
  /// instruction. Prompts are computed in fp32.
  std::optional<Activations> activations = {};
  core::DType kv_dtype = core::DType::kF16;  ///< of keys and values: or kI8, in half of the memory
  HeadPrecision head = HeadPrecision::kStored;
  /// Called as layers are packed, and while a sequence is computed again because its rotary regime changed.
  core::ProgressCallback progress = {};
};

/// Runs a decoder on a Vulkan device: weights, keys and values are there, embeddings are read on the host.
/// A token is one submission. Sums have the order that the device's shaders give them, so logits are close to the
/// CPU's and not the same bits. One thread may use it at a time.
class VulkanRunner : public ModelRunner {
 public:
  /// `pool` is used while weights are packed, and must outlive the runner. Throws unsupported (no loader, no device, a
  /// model the shaders do not take: the sentence names the field), out_of_memory, device_lost.
  VulkanRunner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool, VulkanRunnerOptions options = {});
  ~VulkanRunner() override;

  const model::DecoderSpec& spec() const override;
  const model::Decoder& decoder() const override;
  std::string device() const override;
  std::string device_description() const override;
  core::ThreadPool& pool() override;
  Activations activations() const override;
  core::DType kv_dtype() const override;
  const std::optional<HeadGroups>& rounded_head() const override;
  Sequence new_sequence() override;
  std::vector<float> forward(std::span<const TokenRun> runs) override;
  int64_t most_top_logits() const override;
  std::vector<std::vector<TokenLogit>> top_logits(std::span<const TokenRun> runs, int64_t count) override;
  int64_t bytes_per_token() const override;
  int64_t kv_bytes_per_token() const override;
  int64_t most_kv_tokens() const override;
  uint64_t available_memory() const override;
  bool is_lost() const override;

  const VulkanAdapter& adapter() const;
  /// Those in use.
  const VulkanFeatures& features() const;
  /// Of the last batch that `forward` ran.
  int64_t dispatches() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// A VulkanRunner; in a build without Vulkan, unsupported.
std::unique_ptr<ModelRunner> make_vulkan_runner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                                                VulkanRunnerOptions options);

}  // namespace salient::runner
