#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/thread_pool.h"
#include "kernels/kernels.h"
#include "model/decoder_spec.h"
#include "runner/cpu_kv_cache.h"

namespace salient::runner {

/// Consecutive tokens of one sequence inside a batch.
struct BatchSlice {
  int64_t first_row;  ///< of the batch's hidden states
  int64_t tokens;
  int64_t first_position;  ///< in the sequence
  bool long_rope;          ///< whether the sequence turns by the long frequencies
  std::vector<std::byte*> pages;
};

/// Attention of one layer for all tokens of a batch, shared out among the threads: by kv heads and blocks of queries,
/// and where those are too few, as when one token is decoded, by parts of the context too. Which way it is done does
/// not change a bit: parts are the same, and merged in order, in both.
class AttentionStage {
 public:
  AttentionStage(const model::DecoderSpec& spec, core::ThreadPool& pool) : spec_(spec), pool_(pool) {}

  /// `query` and `attended`: [tokens, heads * head_dim]. `cache_layer` says where in the pages of `cache` the layer's
  /// keys and values are.
  void run(const model::LayerAttention& attention, const CpuKvCache& cache, int64_t cache_layer,
           std::span<const BatchSlice> slices, const float* query, float* attended);

 private:
  const model::DecoderSpec& spec_;
  core::ThreadPool& pool_;
  std::vector<kernels::AttentionPart> parts_;  ///< of all queries, where contexts are shared out
};

}  // namespace salient::runner
