#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace salient::model {

enum class NormKind {
  kRms,         ///< Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019
  kRmsPlusOne,  ///< the same; what is stored is the weight less 1 (Gemma)
  kLayer,       ///< Ba et al., "Layer Normalization", 2016, with a bias
};

enum class ActivationKind {
  kSilu,
  kGelu,  ///< in its tanh form, Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016
};

/// A rotary embedding (Su et al., "RoFormer", 2021): pair i of the first `rotary_dim` dimensions of a head turns by
/// position * frequencies[i] radians.
struct Rope {
  int64_t rotary_dim = 0;
  double theta = 0;                ///< the plain frequencies are theta^(-2i / rotary_dim); 0: they are only listed
  std::vector<float> frequencies;  ///< rotary_dim / 2
  float magnitude = 1;             ///< cos and sin are multiplied by it (YaRN, longrope)
  /// Longrope: what replaces `frequencies` for all positions of a text of more than `original_positions` tokens.
  std::vector<float> long_frequencies;
  int64_t original_positions = 0;

  bool has_regimes() const { return !long_frequencies.empty(); }
};

/// How one layer attends.
struct LayerAttention {
  int rope = 0;        ///< index into DecoderSpec::ropes; -1: no rotary embedding
  int64_t window = 0;  ///< a token sees itself and the window - 1 before it; 0: all before it
};

/// The names of tensors that families do not agree on, without ".weight".
struct TensorNames {
  std::string output = "self_attn.o_proj";
  std::string up = "mlp.up_proj";
  std::string down = "mlp.down_proj";
  std::string final_norm = "model.norm";
};

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

  NormKind norm = NormKind::kRms;
  float norm_epsilon = 0;
  bool post_norms = false;    ///< attention's and the MLP's outputs are normalized before they are added
  bool qk_norm = false;       ///< each head's query and key are normalized before they turn
  bool parallel_mlp = false;  ///< attention and MLP read the same normalized input and are added together

  float attention_scale = 0;     ///< of query times key
  float attention_soft_cap = 0;  ///< scores become cap * tanh(score / cap); 0: they stay
  float logit_soft_cap = 0;      ///< the same for logits
  float embedding_scale = 1;

  ActivationKind activation = ActivationKind::kSilu;
  bool gated_mlp = true;               ///< down(activation(gate) * up); else down(activation(up))
  bool fused_query_key_value = false;  ///< stored as one linear
  bool fused_gate_up = false;          ///< stored as one linear

  TensorNames names;

  std::vector<Rope> ropes;
  std::vector<LayerAttention> attention;  ///< one a layer

  bool tied_embeddings = false;
  /// Ids that end a reply: generation_config.json's eos_token_id, else config.json's; one or several.
  std::vector<int32_t> end_of_sequence;

  int64_t query_size() const { return heads * head_dim; }
  int64_t kv_size() const { return kv_heads * head_dim; }
  /// The longest text whose rotary frequencies are the ordinary ones; 0 where there are no others.
  int64_t original_positions() const;
  /// Whether a text of so many tokens is in the second of two rotary regimes.
  bool is_long(int64_t length) const;
};

/// Fills a spec from Hugging Face's config.json and generation_config.json. A field that changes the mathematics and
/// is not understood is an error that names it; `origin` is what errors call the file.
/// Throws unsupported or invalid_input.
DecoderSpec read_decoder_spec(const nlohmann::json& config, const nlohmann::json& generation_config,
                              const std::string& origin);

}  // namespace salient::model
