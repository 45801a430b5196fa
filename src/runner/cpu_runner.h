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
#include "runner/cpu_layer.h"
#include "runner/model_runner.h"

namespace salient::runner {

/// Whether all layers are packed once and kept, or each when it is asked for: the second needs the memory of one
/// layer, and suits work that takes many tokens through one layer after the other.
enum class Residency { kResident, kStreamed };

struct CpuRunnerOptions {
  Activations activations = Activations::kInt8;
  Residency residency = Residency::kResident;
  /// Of keys and values: kF16, kI8 for half of their memory, or kF32 to measure what those cost.
  core::DType kv_dtype = core::DType::kF16;
  HeadPrecision head = HeadPrecision::kStored;
  /// Packs the weights, so that a runner can be made while others compute in its pool; null: the runner's own pool.
  core::ThreadPool* packing_pool = nullptr;
  /// Called as layers are packed, and while a sequence is computed again because its rotary regime changed.
  core::ProgressCallback progress = {};
};

/// Tokens of one text that go through a layer: they are appended to its sequence.
struct LayerRun {
  Sequence* sequence;
  int64_t tokens;
};

/// The kernels in use: "avx2 kernels". Says so where the scalar ones are all that this CPU runs.
std::string describe_kernels();

/// Runs a decoder on the CPU. Logits are the same bits for any number of threads, any batch and any instruction set.
/// One thread may use it at a time. `pool` must outlive it.
class CpuRunner : public ModelRunner {
 public:
  CpuRunner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool, CpuRunnerOptions options = {});

  const model::DecoderSpec& spec() const override { return decoder_->spec(); }
  const model::Decoder& decoder() const override { return *decoder_; }
  std::string device() const override { return "cpu"; }
  std::string device_description() const override;
  core::ThreadPool& pool() override { return pool_; }
  Residency residency() const { return options_.residency; }
  Activations activations() const override { return options_.activations; }
  core::DType kv_dtype() const override { return options_.kv_dtype; }
  const std::optional<HeadGroups>& rounded_head() const override { return rounded_head_; }
  Sequence new_sequence() override;
  std::vector<float> forward(std::span<const TokenRun> runs) override;
  std::vector<float> hidden_states(std::span<const TokenRun> runs) override;
  int64_t bytes_per_token() const override;
  int64_t kv_bytes_per_token() const override { return cache_->bytes_per_token(); }
  uint64_t available_memory() const override;

  // The same pass in its parts, for work that goes layer by layer (quantize, evaluate). In a streamed runner
  // sequences keep the keys and values of one layer only: clear them between layers.

  /// Rows of the embedding table: out is [tokens, hidden_size].
  void embed(std::span<const int32_t> tokens, float* out) const;
  /// A packed layer; kept by the caller for as long as it is used.
  std::shared_ptr<const CpuLayer> layer(int64_t index);
  /// Takes the tokens of one or several texts through one layer. Their hidden states are given, a text after the other,
  /// and are changed in place. Together or each on its own, a text gets the same bits.
  void run_layer(const CpuLayer& layer, std::span<const LayerRun> runs, float* hidden,
                 const LinearObserver& observer = {});
  void run_layer(const CpuLayer& layer, Sequence& sequence, int64_t tokens, float* hidden,
                 const LinearObserver& observer = {});
  /// Final norm and output head: logits [tokens, vocab_size].
  void head(const float* hidden, int64_t tokens, float* logits);

 private:
  /// Tokens of one or several sequences that go through the layers together. How runs are cut into batches does not
  /// change a bit of the result.
  struct Batch {
    struct Rows {
      int64_t first;
      int64_t count;
    };
    std::vector<BatchSlice> slices;
    std::vector<float> hidden;
    std::vector<Rows> wanted;
    int64_t tokens = 0;
  };

  void pack_head(core::ThreadPool& pool);
  /// Puts a sequence into the rotary regime of its coming length; what it holds in the other is computed again.
  void choose_regime(const TokenRun& run);
  /// Checks and appends runs, and returns their wanted hidden states as the last layer leaves them.
  std::vector<float> append_all(std::span<const TokenRun> runs);
  /// The same for runs that are right, in their rotary regimes.
  std::vector<float> run_layers(std::span<const TokenRun> runs);
  /// The final norm of hidden states [tokens, hidden_size].
  std::vector<float> normalize(const float* hidden, int64_t tokens) const;
  /// Adds what fits of a run, from token `done` on, and returns how many tokens that was.
  int64_t append(Batch& batch, const TokenRun& run, int64_t done);
  /// Runs the layers, appends the wanted hidden states and empties the batch.
  void finish(Batch& batch, std::vector<float>& wanted_hidden);
  BatchSlice make_slice(const Sequence& sequence, int64_t first_row, int64_t first_position, int64_t tokens);

  std::shared_ptr<const model::Decoder> decoder_;
  core::ThreadPool& pool_;
  CpuRunnerOptions options_;
  core::LinearWeights embeddings_;
  model::Norm final_norm_;
  std::optional<HeadGroups> rounded_head_;
  core::Arena arena_;  ///< of the head, and of resident layers
  std::optional<CpuLinear> head_;
  std::vector<std::shared_ptr<const CpuLayer>> layers_;  ///< empty when streamed
  std::shared_ptr<CpuKvCache> cache_;
  LayerExecutor executor_;
  LinearStage head_stage_;
};

}  // namespace salient::runner
