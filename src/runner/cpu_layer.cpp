#include "runner/cpu_layer.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace salient::runner {

CpuLayer::CpuLayer(const model::DecoderLayer& layer, Activations activations, core::ThreadPool& pool)
    : attention_norm(layer.attention_norm),
      query(layer.query, activations, pool),
      key(layer.key, activations, pool),
      value(layer.value, activations, pool),
      output(layer.output, activations, pool),
      mlp_norm(layer.mlp_norm),
      gate(layer.gate, activations, pool),
      up(layer.up, activations, pool),
      down(layer.down, activations, pool) {}

int64_t CpuLayer::packed_bytes() const {
  int64_t bytes = static_cast<int64_t>((attention_norm.size() + mlp_norm.size()) * sizeof(float));
  for (const CpuLinear* linear : {&query, &key, &value, &output, &gate, &up, &down}) bytes += linear->packed_bytes();
  return bytes;
}

LayerExecutor::LayerExecutor(const model::DecoderSpec& spec, core::ThreadPool& pool)
    : spec_(spec), pool_(pool), rope_(spec.rope_theta, spec.head_dim), stage_(pool) {}

void LayerExecutor::reserve(int64_t tokens) {
  if (tokens <= reserved_tokens_) return;
  reserved_tokens_ = tokens;
  normed_ = core::Buffer<float>(tokens * spec_.hidden_size);
  query_ = core::Buffer<float>(tokens * spec_.query_size());
  key_ = core::Buffer<float>(tokens * spec_.kv_size());
  value_ = core::Buffer<float>(tokens * spec_.kv_size());
  attended_ = core::Buffer<float>(tokens * spec_.query_size());
  projected_ = core::Buffer<float>(tokens * spec_.hidden_size);
  gate_ = core::Buffer<float>(tokens * spec_.intermediate_size);
  up_ = core::Buffer<float>(tokens * spec_.intermediate_size);
}

void LayerExecutor::run(const CpuLayer& layer, CpuKvCache& cache, int64_t cache_layer,
                        std::span<const BatchSlice> slices, int64_t tokens, float* hidden,
                        const LinearObserver& observer) {
  using Output = LinearStage::Output;
  const auto observe = [&](LinearInput place, const core::Buffer<float>& x, int64_t width) {
    if (observer) observer(place, x.data(), tokens, width);
  };
  reserve(tokens);

  normalize(hidden, layer.attention_norm, tokens);
  observe(LinearInput::kAttention, normed_, spec_.hidden_size);
  stage_.run(normed_.data(), tokens,
             std::array{Output{&layer.query, query_.data(), spec_.query_size()},
                        Output{&layer.key, key_.data(), spec_.kv_size()},
                        Output{&layer.value, value_.data(), spec_.kv_size()}});
  rotate_and_store(cache, cache_layer, slices);
  attend(cache, cache_layer, slices);
  observe(LinearInput::kOutput, attended_, spec_.query_size());
  stage_.run(attended_.data(), tokens, std::array{Output{&layer.output, projected_.data(), spec_.hidden_size}});
  add_to_hidden(tokens, hidden);

  normalize(hidden, layer.mlp_norm, tokens);
  observe(LinearInput::kMlp, normed_, spec_.hidden_size);
  stage_.run(normed_.data(), tokens,
             std::array{Output{&layer.gate, gate_.data(), spec_.intermediate_size},
                        Output{&layer.up, up_.data(), spec_.intermediate_size}});
  pool_.split(tokens, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * spec_.intermediate_size;
    kernels::active_kernels().silu_multiply(&gate_[first], &up_[first], (end - begin) * spec_.intermediate_size,
                                            &up_[first]);
  });
  observe(LinearInput::kDown, up_, spec_.intermediate_size);
  stage_.run(up_.data(), tokens, std::array{Output{&layer.down, projected_.data(), spec_.hidden_size}});
  add_to_hidden(tokens, hidden);
}

void LayerExecutor::normalize(const float* hidden, const std::vector<float>& weight, int64_t tokens) {
  const int64_t size = spec_.hidden_size;
  pool_.split(tokens, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      kernels::active_kernels().rms_norm(hidden + token * size, weight.data(), spec_.norm_epsilon, size,
                                         &normed_[token * size]);
    }
  });
}

void LayerExecutor::rotate_and_store(CpuKvCache& cache, int64_t cache_layer, std::span<const BatchSlice> slices) {
  for (const BatchSlice& slice : slices) {
    pool_.split(slice.tokens, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = slice.first_row + i;
        const int64_t position = slice.first_position + i;
        float* query = &query_[row * spec_.query_size()];
        float* key = &key_[row * spec_.kv_size()];
        const kernels::KernelSet& kernels = kernels::active_kernels();
        kernels.rotate(query, rope_.cos(position), rope_.sin(position), spec_.heads, spec_.head_dim);
        kernels.rotate(key, rope_.cos(position), rope_.sin(position), spec_.kv_heads, spec_.head_dim);
        cache.store(slice.pages[position / kernels::kPageKeys], cache_layer, position % kernels::kPageKeys, key,
                    &value_[row * spec_.kv_size()]);
      }
    });
  }
}

void LayerExecutor::attend(const CpuKvCache& cache, int64_t cache_layer, std::span<const BatchSlice> slices) {
  // A work item is one kv head and the queries of up to kItemTokens tokens that share it.
  constexpr int64_t kItemTokens = 8;
  const int64_t group = spec_.heads / spec_.kv_heads;
  const kernels::KernelSet& kernels = kernels::active_kernels();
  const auto attend = cache.dtype() == core::DType::kF16 ? kernels.attend_f16 : kernels.attend_f32;
  const float scale = 1.0f / std::sqrt(static_cast<float>(spec_.head_dim));
  for (const BatchSlice& slice : slices) {
    const int64_t blocks = (slice.tokens + kItemTokens - 1) / kItemTokens;
    pool_.each(blocks * spec_.kv_heads, [&](int64_t item) {
      // The last tokens see the most keys: they are handed out first, so that no thread ends with a large item.
      const int64_t block = blocks - 1 - item / spec_.kv_heads;
      const int64_t kv_head = item % spec_.kv_heads;
      std::vector<kernels::AttentionRow> rows;
      for (int64_t i = block * kItemTokens; i < std::min((block + 1) * kItemTokens, slice.tokens); ++i) {
        for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
          const int64_t offset = (slice.first_row + i) * spec_.query_size() + head * spec_.head_dim;
          rows.push_back({&query_[offset], &attended_[offset], 0, slice.first_position + i + 1});
        }
      }
      const kernels::AttentionCache view{slice.pages.data(), cache.key_offset(cache_layer, kv_head),
                                         cache.value_offset(cache_layer, kv_head)};
      attend(rows.data(), std::ssize(rows), view, spec_.head_dim, scale);
    });
  }
}

void LayerExecutor::add_to_hidden(int64_t tokens, float* hidden) {
  pool_.split(tokens, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * spec_.hidden_size;
    kernels::active_kernels().add(&projected_[first], (end - begin) * spec_.hidden_size, hidden + first);
  });
}

}  // namespace salient::runner
