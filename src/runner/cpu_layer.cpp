#include "runner/cpu_layer.h"

#include <algorithm>

namespace salient::runner {

namespace {

std::optional<CpuLinear> pack_gate(const core::LinearWeights& gate, Activations activations, core::ThreadPool& pool,
                                   core::Arena& arena) {
  if (gate.out_features() == 0) return std::nullopt;
  return CpuLinear(gate, activations, pool, arena);
}

}  // namespace

CpuLayer::CpuLayer(const model::DecoderLayer& layer, const model::LayerAttention& attention_kind,
                   Activations activations, core::ThreadPool& pool, core::Arena& arena)
    : attention(attention_kind),
      norms(layer.norms),
      query(layer.query, activations, pool, arena),
      key(layer.key, activations, pool, arena),
      value(layer.value, activations, pool, arena),
      output(layer.output, activations, pool, arena),
      gate(pack_gate(layer.gate, activations, pool, arena)),
      up(layer.up, activations, pool, arena),
      down(layer.down, activations, pool, arena) {}

int64_t CpuLayer::packed_bytes() const {
  int64_t bytes = gate ? gate->packed_bytes() : 0;
  for (const CpuLinear* linear : {&query, &key, &value, &output, &up, &down}) bytes += linear->packed_bytes();
  for (const model::Norm* norm :
       {&norms.attention, &norms.query, &norms.key, &norms.post_attention, &norms.mlp, &norms.post_mlp}) {
    bytes += static_cast<int64_t>((norm->weight.size() + norm->bias.size()) * sizeof(float));
  }
  return bytes;
}

LayerExecutor::LayerExecutor(const model::DecoderSpec& spec, core::ThreadPool& pool)
    : spec_(spec), pool_(pool), stage_(pool), attention_(spec, pool) {
  for (const model::Rope& rope : spec.ropes) {
    const auto& extended = rope.has_regimes() ? rope.long_frequencies : rope.frequencies;
    ropes_.push_back({model::RopeTable(rope.frequencies, rope.magnitude), model::RopeTable(extended, rope.magnitude)});
  }
}

void LayerExecutor::prepare_positions(int64_t count) {
  for (size_t i = 0; i < ropes_.size(); ++i) {
    ropes_[i].ordinary.grow(count);
    if (spec_.ropes[i].has_regimes()) ropes_[i].extended.grow(count);
  }
}

void LayerExecutor::reserve(int64_t tokens) {
  if (tokens <= reserved_tokens_) return;
  reserved_tokens_ = tokens;
  normed_ = core::Buffer<float>(tokens * spec_.hidden_size);
  query_ = core::Buffer<float>(tokens * spec_.query_size());
  key_ = core::Buffer<float>(tokens * spec_.kv_size());
  value_ = core::Buffer<float>(tokens * spec_.kv_size());
  attended_ = core::Buffer<float>(tokens * spec_.query_size());
  projected_ = core::Buffer<float>(tokens * spec_.hidden_size);
  if (spec_.gated_mlp) gate_ = core::Buffer<float>(tokens * spec_.intermediate_size);
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

  normalize(hidden, layer.norms.attention, tokens, normed_.data());
  observe(LinearInput::kAttention, normed_, spec_.hidden_size);
  stage_.run(normed_.data(), tokens,
             {{&layer.query, query_.data(), spec_.query_size()},
              {&layer.key, key_.data(), spec_.kv_size()},
              {&layer.value, value_.data(), spec_.kv_size()}});
  turn_and_store(layer, cache, cache_layer, slices);
  attention_.run(layer.attention, cache, cache_layer, slices, query_.data(), attended_.data());
  observe(LinearInput::kOutput, attended_, spec_.query_size());
  stage_.run(attended_.data(), tokens, {{&layer.output, projected_.data(), spec_.hidden_size}});
  normalize(projected_.data(), layer.norms.post_attention, tokens, projected_.data());
  add_to_hidden(tokens, hidden);

  // A parallel MLP has no norm of its own: it reads what attention read.
  normalize(hidden, layer.norms.mlp, tokens, normed_.data());
  observe(LinearInput::kMlp, normed_, spec_.hidden_size);
  std::vector<Output> inner = {{&layer.up, up_.data(), spec_.intermediate_size}};
  if (layer.gate) inner.push_back({&*layer.gate, gate_.data(), spec_.intermediate_size});
  stage_.run(normed_.data(), tokens, inner);
  activate(layer, tokens);
  observe(LinearInput::kDown, up_, spec_.intermediate_size);
  stage_.run(up_.data(), tokens, {{&layer.down, projected_.data(), spec_.hidden_size}});
  normalize(projected_.data(), layer.norms.post_mlp, tokens, projected_.data());
  add_to_hidden(tokens, hidden);
}

void LayerExecutor::normalize(const float* x, const model::Norm& norm, int64_t tokens, float* out) {
  if (norm.weight.empty()) return;
  const int64_t size = spec_.hidden_size;
  const kernels::KernelSet& kernels = kernels::active_kernels();
  pool_.split(tokens, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * size; i < end * size; i += size) {
      if (norm.bias.empty()) {
        kernels.rms_norm(x + i, norm.weight.data(), spec_.norm_epsilon, size, out + i);
      } else {
        kernels.layer_norm(x + i, norm.weight.data(), norm.bias.data(), spec_.norm_epsilon, size, out + i);
      }
    }
  });
}

void LayerExecutor::turn_and_store(const CpuLayer& layer, CpuKvCache& cache, int64_t cache_layer,
                                   std::span<const BatchSlice> slices) {
  const kernels::KernelSet& kernels = kernels::active_kernels();
  const int64_t head_dim = spec_.head_dim;
  const auto normalize_heads = [&](float* x, int64_t heads, const model::Norm& norm) {
    if (norm.weight.empty()) return;
    for (float* head = x; head < x + heads * head_dim; head += head_dim) {
      kernels.rms_norm(head, norm.weight.data(), spec_.norm_epsilon, head_dim, head);
    }
  };
  for (const BatchSlice& slice : slices) {
    pool_.split(slice.tokens, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = slice.first_row + i;
        const int64_t position = slice.first_position + i;
        float* query = &query_[row * spec_.query_size()];
        float* key = &key_[row * spec_.kv_size()];
        normalize_heads(query, spec_.heads, layer.norms.query);
        normalize_heads(key, spec_.kv_heads, layer.norms.key);
        if (layer.attention.rope >= 0) {
          const RopeTables& tables = ropes_[layer.attention.rope];
          const model::RopeTable& table =
              slice.long_rope && spec_.ropes[layer.attention.rope].has_regimes() ? tables.extended : tables.ordinary;
          const int64_t rotary_dim = spec_.ropes[layer.attention.rope].rotary_dim;
          kernels.rotate(query, table.cos(position), table.sin(position), spec_.heads, head_dim, rotary_dim);
          kernels.rotate(key, table.cos(position), table.sin(position), spec_.kv_heads, head_dim, rotary_dim);
        }
        cache.store(slice.pages[position / kernels::kPageKeys], cache_layer, position % kernels::kPageKeys, key,
                    &value_[row * spec_.kv_size()]);
      }
    });
  }
}

void LayerExecutor::activate(const CpuLayer& layer, int64_t tokens) {
  const int64_t size = spec_.intermediate_size;
  const kernels::KernelSet& kernels = kernels::active_kernels();
  const auto activation = spec_.activation == model::ActivationKind::kSilu ? kernels.silu : kernels.gelu;
  pool_.split(tokens, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * size; i < end * size; i += size) {
      if (layer.gate) {
        activation(&gate_[i], size);
        kernels.multiply(&gate_[i], size, &up_[i]);
      } else {
        activation(&up_[i], size);
      }
    }
  });
}

void LayerExecutor::add_to_hidden(int64_t tokens, float* hidden) {
  pool_.split(tokens, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * spec_.hidden_size;
    kernels::active_kernels().add(&projected_[first], (end - begin) * spec_.hidden_size, hidden + first);
  });
}

}  // namespace salient::runner
