#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "checkpoint/gguf.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// A real number that was stored as fp32, as the shortest decimal that gives the same fp32: 1e-05, not
/// 9.99999974737875e-06.
json shortest_number(const GgufFile& gguf, const char* key, double stored) {
  if (!std::isfinite(static_cast<float>(stored))) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a finite number", gguf.file->path().string(), key, stored);
  }
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), static_cast<float>(stored));
  double value = stored;
  if (error == std::errc()) std::from_chars(text.data(), end, value);
  if (value == std::trunc(value) && std::abs(value) < 0x1p53) return static_cast<int64_t>(value);
  return value;
}

/// One part of a layer: ggml's name and transformers'.
constexpr std::array<std::pair<const char*, const char*>, 9> kLayerNames = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

/// transformers' name of a tensor; the name itself where there is no other. `part` becomes ggml's name of the part.
std::string translate_name(const std::string& name, std::string& part) {
  if (name == "token_embd.weight") return "model.embed_tokens.weight";
  if (name == "output_norm.weight") return "model.norm.weight";
  if (name == "output.weight") return "lm_head.weight";
  if (!name.starts_with("blk.")) return name;
  const size_t layer_end = name.find('.', 4);
  const size_t part_end = layer_end == std::string::npos ? layer_end : name.find('.', layer_end + 1);
  if (part_end == std::string::npos) return name;
  part = name.substr(layer_end + 1, part_end - layer_end - 1);
  for (const auto& [ggml, transformers] : kLayerNames) {
    if (part == ggml) {
      return "model.layers." + name.substr(4, layer_end - 4) + "." + transformers + name.substr(part_end);
    }
  }
  return name;
}

/// Metadata that changes the mathematics in ways no config.json field here would carry.
void refuse_what_is_not_understood(const GgufFile& gguf, const std::string& origin) {
  if (gguf.integer_or("llama.expert_count", 0) > 0) {
    fail(ErrorKind::kUnsupported, "{}: llama.expert_count is {}; mixtures of experts are not supported", origin,
         gguf.integer("llama.expert_count"));
  }
  for (const char* key : {"llama.attention.clamp_kqv", "llama.attention.max_alibi_bias", "llama.logit_scale",
                          "llama.embedding_scale", "llama.residual_scale", "llama.attention.scale"}) {
    if (gguf.metadata.contains(key)) fail(ErrorKind::kUnsupported, "{}: {} is not supported", origin, key);
  }
}

/// GGUF's strings are any bytes; here they become part of JSON documents, whose text is UTF-8.
json with_valid_text(const json& value) {
  return json::parse(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

json make_rope_scaling(const GgufFile& gguf) {
  const std::string type = gguf.string_or("llama.rope.scaling.type", "none");
  if (gguf.tensors.contains("rope_freqs.weight")) return {{"rope_type", "frequencies of rope_freqs.weight"}};
  if (type == "none") return nullptr;
  return {{"rope_type", type}, {"factor", gguf.number_or("llama.rope.scaling.factor", 1.0)}};
}

}  // namespace

json make_config(const GgufFile& gguf) {
  const std::string origin = gguf.file->path().string();
  const std::string architecture = gguf.string("general.architecture");
  if (architecture != "llama") {
    fail(ErrorKind::kUnsupported, "{}: general.architecture is \"{}\", which is not supported; expected llama", origin,
         architecture);
  }
  refuse_what_is_not_understood(gguf, origin);
  const int64_t hidden_size = gguf.integer("llama.embedding_length");
  const int64_t heads = gguf.integer("llama.attention.head_count");
  const int64_t rope_dimensions = gguf.integer_or("llama.rope.dimension_count", heads > 0 ? hidden_size / heads : 0);
  const int64_t head_dim = gguf.integer_or("llama.attention.key_length", rope_dimensions);
  if (head_dim != rope_dimensions || gguf.integer_or("llama.attention.value_length", head_dim) != head_dim) {
    fail(ErrorKind::kUnsupported,
         "{}: llama.attention.key_length is {}, expected rope.dimension_count and value_length "
         "to be the same",
         origin, head_dim);
  }
  const char* epsilon = "llama.attention.layer_norm_rms_epsilon";
  const char* theta = "llama.rope.freq_base";
  const auto* tokens = gguf.strings("tokenizer.ggml.tokens");
  json config = {
      {"architectures", {"LlamaForCausalLM"}},
      {"model_type", "llama"},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"hidden_act", "silu"},
      {"hidden_size", hidden_size},
      {"intermediate_size", gguf.integer("llama.feed_forward_length")},
      {"num_hidden_layers", gguf.integer("llama.block_count")},
      {"num_attention_heads", heads},
      {"num_key_value_heads", gguf.integer_or("llama.attention.head_count_kv", heads)},
      {"head_dim", head_dim},
      {"max_position_embeddings", gguf.integer("llama.context_length")},
      {"rms_norm_eps", shortest_number(gguf, epsilon, gguf.number(epsilon))},
      {"rope_theta", shortest_number(gguf, theta, gguf.number_or(theta, 10000.0))},
      {"rope_scaling", make_rope_scaling(gguf)},
      {"tie_word_embeddings", !gguf.tensors.contains("output.weight")},
      {"vocab_size", tokens ? std::ssize(*tokens) : gguf.integer("llama.vocab_size")},
      {"torch_dtype", "float32"},
      {"use_cache", true},
  };
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
  json ends = json::array();
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    if (!gguf.metadata.contains(key)) continue;
    const int64_t id = gguf.integer(key);
    if (std::find(ends.begin(), ends.end(), json(id)) == ends.end()) ends.push_back(id);
  }
  if (!ends.empty()) config["eos_token_id"] = ends;
  if (gguf.metadata.contains("tokenizer.ggml.padding_token_id")) {
    config["pad_token_id"] = gguf.integer("tokenizer.ggml.padding_token_id");
  }
  return config;
}

Checkpoint open_gguf(const std::filesystem::path& path) {
  GgufFile gguf = parse_gguf(path);
  Checkpoint checkpoint;
  checkpoint.path = path;
  checkpoint.format = "gguf";
  checkpoint.config = with_valid_text(make_config(gguf));
  checkpoint.generation_config = make_generation_config(gguf);
  checkpoint.tokenizer_json = make_tokenizer_json(gguf);
  checkpoint.tokenizer_config = with_valid_text(make_tokenizer_config(gguf));
  for (auto& [name, stored] : gguf.tensors) {
    std::string part;
    const std::string translated = translate_name(name, part);
    if (part == "attn_q" || part == "attn_k") {
      const int64_t heads = checkpoint.config[part == "attn_q" ? "num_attention_heads" : "num_key_value_heads"];
      const int64_t rows = stored.view.shape[0];
      if (heads < 1 || rows % heads != 0 || rows / heads % 2 != 0) {
        fail(ErrorKind::kInvalidInput, "{}: tensor {} has {} rows, which {} heads do not divide", path.string(), name,
             rows, heads);
      }
      stored.rotary_heads = heads;
    }
    checkpoint.tensors.emplace(translated, std::move(stored));
  }
  return checkpoint;
}

}  // namespace salient::checkpoint
