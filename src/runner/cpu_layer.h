#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "core/thread_pool.h"
#include "model/decoder.h"
#include "runner/cpu_kv_cache.h"
#include "runner/cpu_linear.h"
#include "runner/rope_table.h"

namespace salient::runner {

/// One decoder layer packed for the CPU.
struct CpuLayer {
  CpuLayer(const model::DecoderLayer& layer, Activations activations, core::ThreadPool& pool);

  std::vector<float> attention_norm;
  CpuLinear query;
  CpuLinear key;
  CpuLinear value;
  CpuLinear output;
  std::vector<float> mlp_norm;
  CpuLinear gate;
  CpuLinear up;
  CpuLinear down;

  /// Bytes read for one token.
  int64_t packed_bytes() const;
};

/// The four places of a layer where linears read; all linears of one place read the same input.
enum class LinearInput { kAttention, kOutput, kMlp, kDown };

/// Sees the input of linears while a layer runs: [tokens, width] fp32.
using LinearObserver = std::function<void(LinearInput place, const float* x, int64_t tokens, int64_t width)>;

/// Consecutive tokens of one sequence inside a batch.
struct BatchSlice {
  int64_t first_row;  ///< of the batch's hidden states
  int64_t tokens;
  int64_t first_position;  ///< in the sequence
  std::vector<std::byte*> pages;
};

/// The forward pass of a layer, with the buffers it needs.
class LayerExecutor {
 public:
  LayerExecutor(const model::DecoderSpec& spec, core::ThreadPool& pool);

  /// Makes rope angles for positions [0, count) available. Call it before `run`.
  void prepare_positions(int64_t count) { rope_.grow(count); }

  /// Runs one layer over `hidden` [tokens, hidden_size] in place. `cache_layer` says where in the pages of `cache` the
  /// layer's keys and values are kept. `observer` may be empty.
  void run(const CpuLayer& layer, CpuKvCache& cache, int64_t cache_layer, std::span<const BatchSlice> slices,
           int64_t tokens, float* hidden, const LinearObserver& observer);

 private:
  void reserve(int64_t tokens);
  void normalize(const float* hidden, const std::vector<float>& weight, int64_t tokens);
  void rotate_and_store(CpuKvCache& cache, int64_t cache_layer, std::span<const BatchSlice> slices);
  void attend(const CpuKvCache& cache, int64_t cache_layer, std::span<const BatchSlice> slices);
  void add_to_hidden(int64_t tokens, float* hidden);

  const model::DecoderSpec& spec_;
  core::ThreadPool& pool_;
  RopeTable rope_;
  LinearStage stage_;
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
