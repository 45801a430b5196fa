#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "core/tensor.h"
#include "model/decoder_spec.h"

namespace salient::model {

/// The weights of one decoder layer. Dense matrices are read from the checkpoint's mapping when they are used.
struct DecoderLayer {
  std::vector<float> attention_norm;  ///< [hidden_size]
  core::LinearWeights query;          ///< [heads * head_dim, hidden_size]
  core::LinearWeights key;            ///< [kv_heads * head_dim, hidden_size]
  core::LinearWeights value;          ///< [kv_heads * head_dim, hidden_size]
  core::LinearWeights output;         ///< [hidden_size, heads * head_dim]
  std::vector<float> mlp_norm;        ///< [hidden_size]
  core::LinearWeights gate;           ///< [intermediate_size, hidden_size]
  core::LinearWeights up;             ///< [intermediate_size, hidden_size]
  core::LinearWeights down;           ///< [hidden_size, intermediate_size]
};

/// Where one linear of a layer lives: in DecoderLayer, and in the checkpoint under layer_prefix + name.
struct LinearSlot {
  core::LinearWeights DecoderLayer::*weights;
  const char* name;
  int64_t out_features;
  int64_t in_features;
};

/// The seven linears of every layer, in the order they are used.
std::array<LinearSlot, 7> linear_slots(const DecoderSpec& spec);

inline constexpr const char* kAttentionNormName = "input_layernorm.weight";
inline constexpr const char* kMlpNormName = "post_attention_layernorm.weight";
inline constexpr const char* kEmbeddingsName = "model.embed_tokens.weight";
inline constexpr const char* kFinalNormName = "model.norm.weight";
inline constexpr const char* kHeadName = "lm_head";

/// The beginning of the names of layer `index`.
std::string layer_prefix(int64_t index);

/// A checkpoint seen as a decoder: the spec and, on demand, the weights under the names of the architecture.
class Decoder {
 public:
  /// Throws when the config is not supported or disagrees with the tensors.
  explicit Decoder(std::shared_ptr<const checkpoint::Checkpoint> checkpoint);

  const DecoderSpec& spec() const { return spec_; }
  const checkpoint::Checkpoint& checkpoint() const { return *checkpoint_; }

  DecoderLayer layer(int64_t index) const;
  core::DenseMatrix embeddings() const;  ///< [vocab_size, hidden_size]
  std::vector<float> final_norm() const;
  core::LinearWeights head() const;  ///< [vocab_size, hidden_size]; the embeddings where they are tied

 private:
  void check_layer(int64_t index) const;

  std::shared_ptr<const checkpoint::Checkpoint> checkpoint_;
  DecoderSpec spec_;
};

}  // namespace salient::model
