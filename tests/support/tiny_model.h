#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/safetensors_writer.h"
#include "tests/support/temporary_folder.h"

namespace salient::tests {

/// The shape of a random Llama-type model.
struct TinyShape {
  int64_t vocab_size = 256;
  int64_t hidden_size = 64;
  int64_t intermediate_size = 128;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 16;
  bool tied = true;
};

inline nlohmann::json tiny_config(const TinyShape& shape) {
  return {{"model_type", "llama"},
          {"hidden_act", "silu"},
          {"vocab_size", shape.vocab_size},
          {"hidden_size", shape.hidden_size},
          {"intermediate_size", shape.intermediate_size},
          {"num_hidden_layers", shape.layers},
          {"num_attention_heads", shape.heads},
          {"num_key_value_heads", shape.kv_heads},
          {"head_dim", shape.head_dim},
          {"max_position_embeddings", 512},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", shape.tied},
          {"eos_token_id", 2}};
}

/// Random tensors under the names of the Llama architecture, in fp16.
inline std::vector<checkpoint::OutputTensor> tiny_tensors(const TinyShape& shape) {
  std::mt19937 engine(7);
  std::vector<checkpoint::OutputTensor> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> sizes, float mean, float deviation) {
    int64_t count = 1;
    for (const int64_t size : sizes) count *= size;
    std::normal_distribution<float> distribution(mean, deviation);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = distribution(engine);
    tensors.push_back(checkpoint::make_f16_tensor(name, std::move(sizes), values));
  };
  const auto add_linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in}, 0.0f, 1.5f / std::sqrt(static_cast<float>(in)));
  };
  add("model.embed_tokens.weight", {shape.vocab_size, shape.hidden_size}, 0.0f, 1.0f);
  for (int64_t i = 0; i < shape.layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    add(prefix + "input_layernorm.weight", {shape.hidden_size}, 1.0f, 0.2f);
    add_linear(prefix + "self_attn.q_proj", shape.heads * shape.head_dim, shape.hidden_size);
    add_linear(prefix + "self_attn.k_proj", shape.kv_heads * shape.head_dim, shape.hidden_size);
    add_linear(prefix + "self_attn.v_proj", shape.kv_heads * shape.head_dim, shape.hidden_size);
    add_linear(prefix + "self_attn.o_proj", shape.hidden_size, shape.heads * shape.head_dim);
    add(prefix + "post_attention_layernorm.weight", {shape.hidden_size}, 1.0f, 0.2f);
    add_linear(prefix + "mlp.gate_proj", shape.intermediate_size, shape.hidden_size);
    add_linear(prefix + "mlp.up_proj", shape.intermediate_size, shape.hidden_size);
    add_linear(prefix + "mlp.down_proj", shape.hidden_size, shape.intermediate_size);
  }
  add("model.norm.weight", {shape.hidden_size}, 1.0f, 0.2f);
  if (!shape.tied) add_linear("lm_head", shape.vocab_size, shape.hidden_size);
  return tensors;
}

/// Writes a random model folder without a tokenizer.
inline void write_tiny_model(const std::filesystem::path& folder, const TinyShape& shape = {}) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << tiny_config(shape).dump(2);
  checkpoint::write_safetensors(folder / "model.safetensors", tiny_tensors(shape));
}

/// The project's shared goldens, where they are beside the source tree.
inline std::filesystem::path shared_data() {
  return std::filesystem::path(SALIENT_SOURCE_DIR).parent_path() / "shared" / "data";
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

}  // namespace salient::tests
