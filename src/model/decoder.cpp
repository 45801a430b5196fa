#include "model/decoder.h"

#include <map>
#include <utility>

#include "core/error.h"

namespace salient::model {

std::vector<LinearSlot> linear_slots(const DecoderSpec& spec) {
  const int64_t hidden = spec.hidden_size;
  const int64_t inner = spec.intermediate_size;
  const int64_t fused = spec.query_size() + 2 * spec.kv_size();
  std::vector<LinearSlot> slots;
  const auto add = [&](core::LinearWeights DecoderLayer::*weights, std::string name, int64_t out, int64_t in) {
    slots.push_back({weights, std::move(name), out, in, 0, out});
  };
  const auto add_part = [&](core::LinearWeights DecoderLayer::*weights, const char* name, int64_t first, int64_t out,
                            int64_t stored) {
    slots.push_back({weights, name, out, hidden, first, stored});
  };
  if (spec.fused_query_key_value) {
    constexpr const char* kName = "self_attn.qkv_proj";
    add_part(&DecoderLayer::query, kName, 0, spec.query_size(), fused);
    add_part(&DecoderLayer::key, kName, spec.query_size(), spec.kv_size(), fused);
    add_part(&DecoderLayer::value, kName, spec.query_size() + spec.kv_size(), spec.kv_size(), fused);
  } else {
    add(&DecoderLayer::query, "self_attn.q_proj", spec.query_size(), hidden);
    add(&DecoderLayer::key, "self_attn.k_proj", spec.kv_size(), hidden);
    add(&DecoderLayer::value, "self_attn.v_proj", spec.kv_size(), hidden);
  }
  add(&DecoderLayer::output, spec.names.output, hidden, spec.query_size());
  if (spec.fused_gate_up) {
    add_part(&DecoderLayer::gate, "mlp.gate_up_proj", 0, inner, 2 * inner);
    add_part(&DecoderLayer::up, "mlp.gate_up_proj", inner, inner, 2 * inner);
  } else {
    if (spec.gated_mlp) add(&DecoderLayer::gate, "mlp.gate_proj", inner, hidden);
    add(&DecoderLayer::up, spec.names.up, inner, hidden);
  }
  add(&DecoderLayer::down, spec.names.down, hidden, inner);
  return slots;
}

std::vector<NormSlot> norm_slots(const DecoderSpec& spec) {
  const int64_t hidden = spec.hidden_size;
  std::vector<NormSlot> slots = {{&LayerNorms::attention, "input_layernorm", hidden}};
  if (spec.qk_norm) {
    slots.push_back({&LayerNorms::query, "self_attn.q_norm", spec.head_dim});
    slots.push_back({&LayerNorms::key, "self_attn.k_norm", spec.head_dim});
  }
  if (spec.post_norms) {
    slots.push_back({&LayerNorms::post_attention, "post_attention_layernorm", hidden});
    slots.push_back({&LayerNorms::mlp, "pre_feedforward_layernorm", hidden});
    slots.push_back({&LayerNorms::post_mlp, "post_feedforward_layernorm", hidden});
  } else if (!spec.parallel_mlp) {
    slots.push_back({&LayerNorms::mlp, "post_attention_layernorm", hidden});
  }
  return slots;
}

std::string layer_prefix(int64_t index) {
  return fmt::format("model.layers.{}.", index);
}

Decoder::Decoder(std::shared_ptr<const checkpoint::Checkpoint> checkpoint)
    : checkpoint_(std::move(checkpoint)),
      spec_(read_decoder_spec(checkpoint_->config, checkpoint_->generation_config, checkpoint_->path.string())) {
  // Reading the headers of every tensor is cheap and finds a wrong one before long work starts.
  checkpoint_->check_linear(kEmbeddingsName, spec_.vocab_size, spec_.hidden_size);
  if (!spec_.tied_embeddings) checkpoint_->check_linear(kHeadName, spec_.vocab_size, spec_.hidden_size);
  final_norm();
  for (int64_t i = 0; i < spec_.layers; ++i) check_layer(i);
  if (const std::string next = layer_prefix(spec_.layers) + "input_layernorm.weight"; checkpoint_->has(next)) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: num_hidden_layers is {}, but the model has a tensor {}",
               checkpoint_->path.string(), spec_.layers, next);
  }
}

Norm Decoder::norm(const std::string& name, int64_t size) const {
  Norm norm{checkpoint_->vector(name + ".weight", size), {}};
  if (spec_.norm == NormKind::kLayer) norm.bias = checkpoint_->vector(name + ".bias", size);
  if (spec_.norm == NormKind::kRmsPlusOne) {
    for (float& weight : norm.weight) weight += 1.0f;
  }
  return norm;
}

void Decoder::check_layer(int64_t index) const {
  const std::string prefix = layer_prefix(index);
  for (const NormSlot& slot : norm_slots(spec_)) norm(prefix + slot.name, slot.size);
  for (const LinearSlot& slot : linear_slots(spec_)) {
    checkpoint_->check_linear(prefix + slot.name, slot.stored_rows, slot.in_features);
  }
}

DecoderLayer Decoder::layer(int64_t index) const {
  const std::string prefix = layer_prefix(index);
  DecoderLayer layer;
  for (const NormSlot& slot : norm_slots(spec_)) layer.norms.*slot.norm = norm(prefix + slot.name, slot.size);
  std::map<std::string, core::LinearWeights> fused;
  for (const LinearSlot& slot : linear_slots(spec_)) {
    const auto read = [&] { return checkpoint_->linear(prefix + slot.name, slot.stored_rows, slot.in_features); };
    if (slot.out_features == slot.stored_rows) {
      layer.*slot.weights = read();
      continue;
    }
    if (!fused.contains(slot.name)) fused.emplace(slot.name, read());
    layer.*slot.weights = fused.at(slot.name).rows(slot.first_row, slot.out_features);
  }
  return layer;
}

core::LinearWeights Decoder::embeddings() const {
  // Rows are looked up, not multiplied: where they can be read one by one, the table stays in the mapping.
  if (const std::string weight = std::string(kEmbeddingsName) + ".weight"; checkpoint_->has(weight)) {
    return {checkpoint_->matrix(weight, spec_.vocab_size, spec_.hidden_size), {}};
  }
  return checkpoint_->linear(kEmbeddingsName, spec_.vocab_size, spec_.hidden_size);
}

Norm Decoder::final_norm() const {
  return norm(spec_.names.final_norm, spec_.hidden_size);
}

core::LinearWeights Decoder::head() const {
  return checkpoint_->linear(spec_.tied_embeddings ? kEmbeddingsName : kHeadName, spec_.vocab_size, spec_.hidden_size);
}

}  // namespace salient::model
