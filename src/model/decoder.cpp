#include "model/decoder.h"

#include <utility>

#include "core/error.h"

namespace salient::model {

std::array<LinearSlot, 7> linear_slots(const DecoderSpec& spec) {
  const int64_t hidden = spec.hidden_size;
  return {{
      {&DecoderLayer::query, "self_attn.q_proj", spec.query_size(), hidden},
      {&DecoderLayer::key, "self_attn.k_proj", spec.kv_size(), hidden},
      {&DecoderLayer::value, "self_attn.v_proj", spec.kv_size(), hidden},
      {&DecoderLayer::output, "self_attn.o_proj", hidden, spec.query_size()},
      {&DecoderLayer::gate, "mlp.gate_proj", spec.intermediate_size, hidden},
      {&DecoderLayer::up, "mlp.up_proj", spec.intermediate_size, hidden},
      {&DecoderLayer::down, "mlp.down_proj", hidden, spec.intermediate_size},
  }};
}

std::string layer_prefix(int64_t index) {
  return fmt::format("model.layers.{}.", index);
}

Decoder::Decoder(std::shared_ptr<const checkpoint::Checkpoint> checkpoint)
    : checkpoint_(std::move(checkpoint)),
      spec_(read_decoder_spec(checkpoint_->config, checkpoint_->generation_config, checkpoint_->path.string())) {
  // Reading the headers of every tensor is cheap and finds a wrong one before long work starts.
  embeddings();
  head();
  final_norm();
  for (int64_t i = 0; i < spec_.layers; ++i) check_layer(i);
  if (const std::string next = layer_prefix(spec_.layers) + kAttentionNormName; checkpoint_->has(next)) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: num_hidden_layers is {}, but the model has a tensor {}",
               checkpoint_->path.string(), spec_.layers, next);
  }
}

/// Everything but the codes of quantized linears, which cost too much to unpack twice.
void Decoder::check_layer(int64_t index) const {
  const std::string prefix = layer_prefix(index);
  checkpoint_->vector(prefix + kAttentionNormName, spec_.hidden_size);
  checkpoint_->vector(prefix + kMlpNormName, spec_.hidden_size);
  for (const LinearSlot& slot : linear_slots(spec_)) {
    if (checkpoint_->has(prefix + slot.name + ".qweight")) continue;
    checkpoint_->linear(prefix + slot.name, slot.out_features, slot.in_features);
  }
}

DecoderLayer Decoder::layer(int64_t index) const {
  const std::string prefix = layer_prefix(index);
  DecoderLayer layer;
  layer.attention_norm = checkpoint_->vector(prefix + kAttentionNormName, spec_.hidden_size);
  layer.mlp_norm = checkpoint_->vector(prefix + kMlpNormName, spec_.hidden_size);
  for (const LinearSlot& slot : linear_slots(spec_)) {
    layer.*slot.weights = checkpoint_->linear(prefix + slot.name, slot.out_features, slot.in_features);
  }
  return layer;
}

core::DenseMatrix Decoder::embeddings() const {
  return checkpoint_->matrix(kEmbeddingsName, spec_.vocab_size, spec_.hidden_size);
}

std::vector<float> Decoder::final_norm() const {
  return checkpoint_->vector(kFinalNormName, spec_.hidden_size);
}

core::LinearWeights Decoder::head() const {
  if (spec_.tied_embeddings) return {embeddings(), {}};
  return checkpoint_->linear(kHeadName, spec_.vocab_size, spec_.hidden_size);
}

}  // namespace salient::model
