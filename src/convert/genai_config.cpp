#include "convert/genai_config.h"

namespace salient::convert {

using nlohmann::json;

namespace {

/// The field of generation_config.json or else of config.json; null when neither has it.
json token_id(const checkpoint::Checkpoint& source, const char* field) {
  for (const json* place : {&source.generation_config, &source.config}) {
    if (place->contains(field) && (*place)[field].is_number_integer()) return (*place)[field];
  }
  return nullptr;
}

json make_decoder(const model::DecoderSpec& spec, OnnxLayout layout) {
  const bool dml = layout == OnnxLayout::kDml;
  json inputs = {{"input_ids", "input_ids"},
                 {"attention_mask", "attention_mask"},
                 {"past_key_names", "past_key_values.%d.key"},
                 {"past_value_names", "past_key_values.%d.value"}};
  if (dml) inputs["position_ids"] = "position_ids";
  const json providers = dml ? json::array({{{"dml", json::object()}}}) : json::array();
  return {
      {"session_options", {{"log_id", "onnxruntime-genai"}, {"provider_options", providers}}},
      {"filename", "model.onnx"},
      {"head_size", spec.head_dim},
      {"hidden_size", spec.hidden_size},
      {"inputs", inputs},
      {"outputs",
       {{"logits", "logits"}, {"present_key_names", "present.%d.key"}, {"present_value_names", "present.%d.value"}}},
      {"num_attention_heads", spec.heads},
      {"num_hidden_layers", spec.layers},
      {"num_key_value_heads", spec.kv_heads}};
}

json make_search(const json& generation_config, int64_t context_length) {
  json search = {{"diversity_penalty", 0.0},
                 {"do_sample", false},
                 {"early_stopping", true},
                 {"length_penalty", 1.0},
                 {"max_length", context_length},
                 {"min_length", 0},
                 {"no_repeat_ngram_size", 0},
                 {"num_beams", 1},
                 {"num_return_sequences", 1},
                 {"past_present_share_buffer", true},
                 {"repetition_penalty", 1.0},
                 {"temperature", 1.0},
                 {"top_k", 50},
                 {"top_p", 1.0}};
  for (const char* field : {"do_sample", "repetition_penalty", "temperature", "top_k", "top_p"}) {
    const json given = generation_config.value(field, json());
    const bool same_kind = given.is_boolean() == search[field].is_boolean() &&
                           given.is_number_integer() >= search[field].is_number_integer();
    if ((given.is_boolean() || given.is_number()) && same_kind) search[field] = given;
  }
  return search;
}

}  // namespace

json make_genai_config(const checkpoint::Checkpoint& source, const model::DecoderSpec& spec, OnnxLayout layout) {
  json model = {{"type", spec.family},
                {"vocab_size", spec.vocab_size},
                {"context_length", spec.max_positions},
                {"decoder", make_decoder(spec, layout)}};
  if (const json id = token_id(source, "bos_token_id"); !id.is_null()) model["bos_token_id"] = id;
  json padding = token_id(source, "pad_token_id");
  if (!spec.end_of_sequence.empty()) {
    const bool one = spec.end_of_sequence.size() == 1;
    model["eos_token_id"] = one ? json(spec.end_of_sequence[0]) : json(spec.end_of_sequence);
    if (padding.is_null()) padding = spec.end_of_sequence[0];
  }
  if (!padding.is_null()) model["pad_token_id"] = padding;
  return {{"model", model}, {"search", make_search(source.generation_config, spec.max_positions)}};
}

}  // namespace salient::convert
