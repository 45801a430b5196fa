#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/onnx_graph.h"
#include "checkpoint/onnx_rope.h"
#include "checkpoint/onnx_walk.h"

namespace salient::checkpoint {

/// A normalization with the weight that it multiplies by: of the root mean square, or (with a bias) of the layer.
struct OnnxNorm {
  OnnxTensor weight;
  std::optional<OnnxTensor> bias;
  float epsilon = 0;
};

/// One decoder layer of a graph.
struct OnnxLayer {
  OnnxNorm attention_norm;
  OnnxLinear query, key, value, output;
  std::optional<OnnxNorm> query_norm, key_norm;
  std::optional<OnnxNorm> post_attention_norm;  ///< of attention's output, before it is added
  int64_t heads = 0;
  int64_t kv_heads = 0;
  float scale = 0;     ///< 0: 1 / sqrt(head size)
  float soft_cap = 0;  ///< 0: none
  int64_t window = 0;  ///< a token sees itself and the window - 1 before it; 0: all before it
  std::optional<OnnxRope> rope;
  std::optional<OnnxNorm> mlp_norm;  ///< none where attention and MLP read the same
  std::optional<OnnxLinear> gate;    ///< none where the MLP is not gated
  OnnxLinear up, down;
  std::optional<OnnxNorm> post_mlp_norm;
  std::string activation;  ///< as hidden_act names it: "silu" or "gelu_pytorch_tanh"
};

/// A graph seen as a decoder: what the nodes mean.
struct OnnxDecoder {
  OnnxMatrix embeddings;
  double embedding_scale = 1;
  std::vector<OnnxLayer> layers;
  OnnxNorm final_norm;
  OnnxLinear head;
  double logit_soft_cap = 0;  ///< 0: none
};

/// Reads the decoder that makes `logits`, following values, not names. Every node must have a part in it: throws
/// unsupported or invalid_input, naming the node, for what is not understood.
OnnxDecoder read_onnx_decoder(const OnnxModel& model, const std::string& logits, int64_t hidden_size);

}  // namespace salient::checkpoint
