#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "convert/onnx_linear.h"
#include "convert/onnx_model_writer.h"
#include "convert/onnx_rope_tables.h"
#include "model/decoder.h"

namespace salient::convert {

/// Throws unsupported, naming the feature, for an architecture whose graph cannot be built.
void check_graph_can_be_built(const model::DecoderSpec& spec, OnnxLayout layout, const std::string& origin);

/// Builds the graph of a decoder, layer by layer, with the operators, names and inputs that the generate() API's own
/// builder gives it. Call `begin`, `add_layer` for each layer in order, and `finish`.
class OnnxGraphBuilder {
 public:
  /// `settings` says in which numbers the graph computes.
  OnnxGraphBuilder(OnnxModelWriter& model, const model::DecoderSpec& spec, OnnxLayout layout,
                   OnnxLinearSettings settings);

  void begin(const core::LinearWeights& embeddings);
  void add_layer(int64_t index, const model::DecoderLayer& layer);
  /// Nothing for `head` where it is the embeddings, as dense as they are.
  void finish(const model::Norm& final_norm, const core::LinearWeights* head);

 private:
  std::string node(const std::string& op, const std::string& path, std::vector<std::string> inputs,
                   std::map<std::string, OnnxAttributeValue> attributes = {});
  std::string linear(const std::string& path, const std::string& input, const core::LinearWeights& weights);
  std::string scalar(const std::string& name, float value);
  std::vector<std::string> norm_inputs(const std::string& path, std::vector<std::string> values,
                                       const model::Norm& norm);

  std::string last_positions();
  void add_lengths();
  void add_inputs();
  /// Adds the branch that is waiting to the hidden states, and returns what the norm makes of their sum.
  std::string normalize(const std::string& path, const model::Norm& norm, bool keep_sum);
  std::string normalize_alone(const std::string& path, const model::Norm& norm, std::string branch);
  std::string normalize_heads(const std::string& path, const model::Norm& norm, const std::string& heads, int64_t size);
  std::string turn(const std::string& path, const OnnxRopeValues& rope, const std::string& heads, int64_t count,
                   int64_t rotary_dim);
  std::string attend(const std::string& path, int64_t index, const model::DecoderLayer& layer,
                     const std::string& input);
  std::string activate(const std::string& path, const std::string& input);
  std::string run_mlp(const std::string& path, const model::DecoderLayer& layer, const std::string& input);
  void add_head(const core::LinearWeights* head, const std::string& input);

  OnnxModelWriter& model_;
  const model::DecoderSpec& spec_;
  OnnxLayout layout_;
  OnnxLinearSettings settings_;
  std::vector<OnnxRopeValues> ropes_;
  std::string last_positions_;  ///< of each sequence, its tokens less one
  std::string total_length_;    ///< of the longest sequence
  std::string hidden_;
  std::string branch_;  ///< what has yet to be added to `hidden_`; empty: nothing
};

}  // namespace salient::convert
