#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "core/thread_pool.h"
#include "model/decoder.h"
#include "runner/cpu_runner.h"

namespace salient::quantize {

/// The hidden states of texts, [tokens, hidden_size] for each batch of them.
using States = std::vector<std::vector<float>>;

/// Takes the hidden states of texts through the layers of a model one layer after the other, in fp32, so that no more
/// than one layer is in memory. Texts may be of any lengths: short ones share a batch, one after the other and without
/// padding, and each attends to itself only, from position 0 on. What they get is the same bits as without the others.
/// `texts` must outlive it. Throws cancelled when `stop` asks for it.
class StatePass {
 public:
  StatePass(std::shared_ptr<const model::Decoder> decoder, std::span<const std::vector<int32_t>> texts,
            std::stop_token stop, core::ThreadPool& pool);

  runner::CpuRunner& runner() { return runner_; }
  /// The states before the first layer.
  States embed() const;
  void run(const runner::CpuLayer& layer, size_t batch, std::vector<float>& hidden,
           const runner::LinearObserver& observer = {});
  void run(const runner::CpuLayer& layer, States& states);
  /// The same through layer `index` as another checkpoint has it.
  void run(const model::DecoderLayer& layer, int64_t index, States& states);

 private:
  runner::CpuRunner runner_;
  core::ThreadPool& pool_;
  std::vector<std::span<const std::vector<int32_t>>> batches_;
  std::vector<runner::Sequence> sequences_;  ///< of the texts of the batch in hand
  std::stop_token stop_;
};

}  // namespace salient::quantize
