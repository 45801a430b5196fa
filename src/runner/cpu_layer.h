#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "core/thread_pool.h"
#include "model/decoder.h"
#include "model/rope_table.h"
#include "runner/cpu_attention.h"
#include "runner/cpu_kv_cache.h"
#include "runner/cpu_linear.h"

namespace salient::runner {

/// One decoder layer packed for the CPU, in memory of an arena, which must outlive it.
struct CpuLayer {
  CpuLayer(const model::DecoderLayer& layer, const model::LayerAttention& attention_kind, Activations activations,
           core::ThreadPool& pool, core::Arena& arena);

  model::LayerAttention attention;
  model::LayerNorms norms;
  CpuLinear query;
  CpuLinear key;
  CpuLinear value;
  CpuLinear output;
  std::optional<CpuLinear> gate;
  CpuLinear up;
  CpuLinear down;

  /// Bytes read for one token.
  int64_t packed_bytes() const;
};

/// The four places of a layer where linears read; all linears of one place read the same input.
enum class LinearInput { kAttention, kOutput, kMlp, kDown };

/// Sees the input of linears while a layer runs: [tokens, width] fp32.
using LinearObserver = std::function<void(LinearInput place, const float* x, int64_t tokens, int64_t width)>;

/// The forward pass of a layer, with the buffers it needs.
class LayerExecutor {
 public:
  LayerExecutor(const model::DecoderSpec& spec, core::ThreadPool& pool);

  /// Makes rope angles for positions [0, count) available. Call it before `run`.
  void prepare_positions(int64_t count);

  /// Runs one layer over `hidden` [tokens, hidden_size] in place. `cache_layer` says where in the pages of `cache` the
  /// layer's keys and values are kept. `observer` may be empty.
  void run(const CpuLayer& layer, CpuKvCache& cache, int64_t cache_layer, std::span<const BatchSlice> slices,
           int64_t tokens, float* hidden, const LinearObserver& observer);

 private:
  /// The two tables of an embedding: for ordinary and for long texts (the same where there is one regime).
  struct RopeTables {
    model::RopeTable ordinary;
    model::RopeTable extended;
  };

  void reserve(int64_t tokens);
  /// Normalizes rows of `x` into `out`, which may be `x`; does nothing for a norm the architecture does not have.
  void normalize(const float* x, const model::Norm& norm, int64_t tokens, float* out);
  void turn_and_store(const CpuLayer& layer, CpuKvCache& cache, int64_t cache_layer,
                      std::span<const BatchSlice> slices);
  void activate(const CpuLayer& layer, int64_t tokens);
  void add_to_hidden(int64_t tokens, float* hidden);

  const model::DecoderSpec& spec_;
  core::ThreadPool& pool_;
  std::vector<RopeTables> ropes_;
  LinearStage stage_;
  AttentionStage attention_;
  int64_t reserved_tokens_ = 0;
  core::Buffer<float> normed_;     ///< [tokens, hidden_size]
  core::Buffer<float> query_;      ///< [tokens, heads * head_dim]
  core::Buffer<float> key_;        ///< [tokens, kv_heads * head_dim]
  core::Buffer<float> value_;      ///< [tokens, kv_heads * head_dim]
  core::Buffer<float> attended_;   ///< [tokens, heads * head_dim]
  core::Buffer<float> projected_;  ///< [tokens, hidden_size]
  core::Buffer<float> gate_;       ///< [tokens, intermediate_size]
  core::Buffer<float> up_;         ///< [tokens, intermediate_size]
};

}  // namespace salient::runner
