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
#include "runner/onnxruntime/onnxruntime_provider.h"

namespace salient::runner {

struct OnnxRuntimeRunnerOptions {
  const OnnxRuntimeProvider* provider = nullptr;  ///< one of onnxruntime_providers()
  core::DType kv_dtype = core::DType::kF16;       ///< kI8 is refused; else keys and values are what the graph has
  HeadPrecision head = HeadPrecision::kStored;    ///< others are refused
  bool exact = false;                             ///< refuse a graph that allows int8 activations
  int64_t context = 0;                            ///< tokens a text may have; 0: what the model was trained for
  core::ProgressCallback progress = {};           ///< called while a sequence is computed again
};

/// Runs the graph of a generate() folder in ONNX Runtime: weights, arithmetic and the precision of keys and values are
/// the graph's and the provider's. Sequences of a batch are computed one after the other. Sums have the provider's
/// order: logits are close to the CPU runner's and not the same bits. One thread may use it at a time.
class OnnxRuntimeRunner : public ModelRunner {
 public:
  /// The library gets as many threads as `pool` has, which must outlive the runner. Throws not_found or unsupported: no
  /// library, no such provider in it, a model that is no such folder, or options that a graph does not leave open.
  OnnxRuntimeRunner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                    OnnxRuntimeRunnerOptions options);
  ~OnnxRuntimeRunner() override;

  const model::DecoderSpec& spec() const override { return decoder_->spec(); }
  const model::Decoder& decoder() const override { return *decoder_; }
  std::string device() const override { return options_.provider->device; }
  std::string device_description() const override;
  core::ThreadPool& pool() override { return pool_; }
  Activations activations() const override;
  core::DType kv_dtype() const override;
  const std::optional<HeadGroups>& rounded_head() const override { return rounded_head_; }
  Sequence new_sequence() override;
  std::vector<float> forward(std::span<const TokenRun> runs) override;
  int64_t bytes_per_token() const override { return bytes_per_token_; }
  int64_t kv_bytes_per_token() const override;
  /// The host's, also where the provider is not the CPU: ONNX Runtime does not say what a device has.
  uint64_t available_memory() const override;

 private:
  struct Parts;
  void check_options() const;
  void check_window(int64_t total) const;
  void append(const TokenRun& run, std::vector<float>& logits);

  std::shared_ptr<const model::Decoder> decoder_;
  core::ThreadPool& pool_;
  OnnxRuntimeRunnerOptions options_;
  std::optional<HeadGroups> rounded_head_;  ///< never
  int64_t bytes_per_token_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace salient::runner
