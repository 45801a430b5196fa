#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "core/tensor.h"
#include "model/decoder_spec.h"

namespace salient::model {

/// The parameters of a normalization. Where what is stored is the weight less 1, the 1 has been added.
struct Norm {
  std::vector<float> weight;  ///< empty where the architecture has no such norm
  std::vector<float> bias;    ///< empty but for NormKind::kLayer
};

/// The norms of one decoder layer; those the architecture does not have are empty.
struct LayerNorms {
  Norm attention;       ///< [hidden_size]
  Norm query;           ///< [head_dim]; with qk_norm
  Norm key;             ///< [head_dim]; with qk_norm
  Norm post_attention;  ///< [hidden_size]; with post_norms
  Norm mlp;             ///< [hidden_size]; not with parallel_mlp
  Norm post_mlp;        ///< [hidden_size]; with post_norms
};

/// The weights of one decoder layer. Dense matrices are read from the checkpoint's mapping when they are used.
struct DecoderLayer {
  LayerNorms norms;
  core::LinearWeights query;   ///< [heads * head_dim, hidden_size]
  core::LinearWeights key;     ///< [kv_heads * head_dim, hidden_size]
  core::LinearWeights value;   ///< [kv_heads * head_dim, hidden_size]
  core::LinearWeights output;  ///< [hidden_size, heads * head_dim]
  core::LinearWeights gate;    ///< [intermediate_size, hidden_size]; with gated_mlp, else of no outputs
  core::LinearWeights up;      ///< [intermediate_size, hidden_size]
  core::LinearWeights down;    ///< [hidden_size, intermediate_size]
};

/// Where one linear of a layer lives: in DecoderLayer, and in the checkpoint under layer_prefix + name, of whose rows
/// it has `out_features` from `first_row` on (several linears may be stored as one).
struct LinearSlot {
  core::LinearWeights DecoderLayer::*weights;
  std::string name;
  int64_t out_features;
  int64_t in_features;
  int64_t first_row;
  int64_t stored_rows;
};

/// The linears of every layer, in the order they are stored and used.
std::vector<LinearSlot> linear_slots(const DecoderSpec& spec);

/// Where one norm of a layer lives: in LayerNorms, and under layer_prefix + name + ".weight".
struct NormSlot {
  Norm LayerNorms::*norm;
  const char* name;
  int64_t size;
};

/// The norms of every layer.
std::vector<NormSlot> norm_slots(const DecoderSpec& spec);

inline constexpr const char* kEmbeddingsName = "model.embed_tokens";
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
  core::LinearWeights embeddings() const;  ///< [vocab_size, hidden_size]
  Norm final_norm() const;
  core::LinearWeights head() const;  ///< [vocab_size, hidden_size]; the embeddings where they are tied

 private:
  Norm norm(const std::string& name, int64_t size) const;
  void check_layer(int64_t index) const;

  std::shared_ptr<const checkpoint::Checkpoint> checkpoint_;
  DecoderSpec spec_;
};

}  // namespace salient::model
