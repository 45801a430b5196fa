#include <algorithm>
#include <array>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_architecture.h"
#include "checkpoint/rope_words.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// Fields that say nothing a config.json needs, or that a dense decoder has at one value only.
void check_fixed_fields(const GgufFile& gguf, const GgufFields& fields) {
  fields.has("tensor_data_layout");
  fields.has("vocab_size");
  for (const char* field : {"expert_count", "expert_used_count"}) {
    if (fields.integer_or(field, 0) > 0) fields.refuse(field, "0: mixtures of experts are not supported");
  }
  if (fields.has("attention.causal") && !gguf.flag_or(fields.key("attention.causal"), true)) {
    fields.refuse("attention.causal", "true");
  }
  if (const int64_t parts = gguf.integer_or("split.count", 1); parts > 1) {
    fail(ErrorKind::kUnsupported, "{}: split.count is {}: it is one of several files of a model; expected one file",
         fields.origin(), parts);
  }
}

void add_head_dimensions(const GgufFields& fields, const GgufArchitecture& architecture, json& config) {
  const int64_t heads = config["num_attention_heads"];
  const int64_t shared = heads > 0 ? config["hidden_size"].get<int64_t>() / heads : 0;
  const int64_t stated = fields.integer_or("rope.dimension_count", 0);
  const bool all_turns = !architecture.partial_rotary;
  const int64_t head_dim = fields.integer_or("attention.key_length", all_turns && stated > 0 ? stated : shared);
  const int64_t dimensions = stated > 0 ? stated : head_dim;
  constexpr int64_t kMostDimensions = 65536;
  if (head_dim > kMostDimensions || head_dim < 0) {
    fail(ErrorKind::kUnsupported, "{}: its heads have {} dimensions, expected up to {}", fields.origin(), head_dim,
         kMostDimensions);
  }
  if (fields.integer_or("attention.value_length", head_dim) != head_dim) {
    fields.refuse("attention.value_length", fmt::format("{}, as many as keys have", head_dim));
  }
  if (all_turns ? dimensions != head_dim : dimensions < 1 || dimensions > head_dim) {
    fields.refuse("rope.dimension_count", fmt::format("{}, the size of a head", head_dim));
  }
  config["head_dim"] = head_dim;
  if (!all_turns) config["partial_rotary_factor"] = partial_rotary_factor(dimensions, head_dim);
}

int64_t find_vocab_size(const GgufFile& gguf, const GgufFields& fields) {
  const auto table = gguf.tensors.find("token_embd.weight");
  if (table != gguf.tensors.end() && table->second.view.shape.size() == 2) return table->second.view.shape[0];
  const auto* tokens = gguf.strings("tokenizer.ggml.tokens");
  return tokens ? std::ssize(*tokens) : fields.integer("vocab_size");
}

/// Tokens that end a turn of a conversation and that files often do not name as such: those the chat template writes.
std::vector<int64_t> find_ends_of_turn(const GgufFile& gguf) {
  constexpr std::array<std::string_view, 4> kEnds = {"<|end|>", "<|eot_id|>", "<|im_end|>", "<end_of_turn>"};
  const std::string chat_template = gguf.string_or("tokenizer.chat_template", "");
  const auto* tokens = gguf.strings("tokenizer.ggml.tokens");
  std::vector<int64_t> found;
  for (size_t id = 0; tokens && id < tokens->size(); ++id) {
    const std::string& token = (*tokens)[id];
    if (std::find(kEnds.begin(), kEnds.end(), token) == kEnds.end()) continue;
    if (chat_template.find(token) != std::string::npos) found.push_back(static_cast<int64_t>(id));
  }
  return found;
}

}  // namespace

json make_config(const GgufFile& gguf) {
  const GgufFields fields(gguf);
  const GgufArchitecture& architecture = find_architecture(fields);
  check_fixed_fields(gguf, fields);
  const int64_t hidden_size = fields.integer("embedding_length");
  const int64_t heads = fields.integer("attention.head_count");
  const bool rms = std::string_view(architecture.norm_epsilon) == "rms_norm_eps";
  json config = {
      {"architectures", {architecture.class_name}},
      {"model_type", architecture.model_type},
      {"attention_bias", gguf.tensors.contains("blk.0.attn_q.bias")},
      {"mlp_bias", false},
      {architecture.activation_field, architecture.activation},
      {"hidden_size", hidden_size},
      {"intermediate_size", fields.integer("feed_forward_length")},
      {"num_hidden_layers", fields.integer("block_count")},
      {"num_attention_heads", heads},
      {"num_key_value_heads", fields.integer_or("attention.head_count_kv", heads)},
      {"max_position_embeddings", fields.integer("context_length")},
      {architecture.norm_epsilon,
       fields.number(rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon")},
      {"rope_theta", fields.number_or("rope.freq_base", 10000)},
      {"tie_word_embeddings", !gguf.tensors.contains("output.weight")},
      {"torch_dtype", "float32"},
      {"use_cache", true},
  };
  add_head_dimensions(fields, architecture, config);
  if (architecture.add_fields) architecture.add_fields(fields, config);
  config["rope_scaling"] = make_rope_scaling(gguf, fields, config);
  fields.refuse_what_was_not_asked_for();
  config["vocab_size"] = find_vocab_size(gguf, fields);
  config.update(make_generation_config(gguf));
  if (config.contains("eos_token_id") && config["eos_token_id"].is_array() && config["eos_token_id"].size() == 1) {
    config["eos_token_id"] = config["eos_token_id"][0];
  }
  return config;
}

json make_generation_config(const GgufFile& gguf) {
  json config = json::object();
  if (gguf.metadata.contains("tokenizer.ggml.bos_token_id")) {
    config["bos_token_id"] = gguf.integer("tokenizer.ggml.bos_token_id");
  }
  std::vector<int64_t> ids;
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    if (gguf.metadata.contains(key)) ids.push_back(gguf.integer(key));
  }
  for (const int64_t id : find_ends_of_turn(gguf)) ids.push_back(id);
  json ends = json::array();
  for (const int64_t id : ids) {
    if (std::find(ends.begin(), ends.end(), json(id)) == ends.end()) ends.push_back(id);
  }
  if (!ends.empty()) config["eos_token_id"] = ends;
  if (gguf.metadata.contains("tokenizer.ggml.padding_token_id")) {
    config["pad_token_id"] = gguf.integer("tokenizer.ggml.padding_token_id");
  }
  return config;
}

}  // namespace salient::checkpoint
