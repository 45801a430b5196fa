#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace salient::model {

/// The architecture of a decoder as data. A new model family is a new way to fill this, not a new forward pass.
struct DecoderSpec {
  std::string family;  ///< config.json's model_type
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;  ///< the context length the model was trained for
  float norm_epsilon = 0;
  double rope_theta = 0;
  bool tied_embeddings = false;
  /// Ids that end a reply: generation_config.json's eos_token_id, else config.json's; one or several.
  std::vector<int32_t> end_of_sequence;

  int64_t query_size() const { return heads * head_dim; }
  int64_t kv_size() const { return kv_heads * head_dim; }
};

/// Fills a spec from Hugging Face's config.json and generation_config.json. A field that changes the mathematics and
/// is not understood is an error that names it; `origin` is what errors call the file.
/// Throws unsupported or invalid_input.
DecoderSpec read_decoder_spec(const nlohmann::json& config, const nlohmann::json& generation_config,
                              const std::string& origin);

}  // namespace salient::model
