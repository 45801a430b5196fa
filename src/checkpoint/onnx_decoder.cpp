#include "checkpoint/onnx_decoder.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "checkpoint/onnx_rope_nodes.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;

namespace {

/// The nodes of a decoder, from its logits to its embeddings.
class DecoderReader {
 public:
  DecoderReader(const OnnxModel& model, int64_t hidden_size) : walk_(model), hidden_size_(hidden_size) {}

  OnnxDecoder read(const std::string& logits);

 private:
  /// A normalized value: the norm, what it normalizes, and what that is the sum of. `branch` is empty at the beginning
  /// of the decoder, where nothing has been added yet.
  struct Normalized {
    OnnxNorm norm;
    std::string stream;
    std::string branch;
  };

  const OnnxTensor& norm_parameter(const OnnxNode& node, size_t input) const;
  OnnxNorm norm_of(const OnnxNode& node, size_t weight_input) const;
  bool is_stream(const std::string& value);
  bool is_embedding(const std::string& value);
  Normalized normalized(const std::string& value);
  std::optional<OnnxNorm> take_post_norm(std::string& branch);

  Normalized read_layer(const Normalized& after, OnnxLayer& layer);
  const OnnxNode* parallel_sum(const std::string& branch);
  std::string read_mlp(std::string branch, OnnxLayer& layer);
  std::string activated(const OnnxNode& product, std::string& up, OnnxLayer& layer);
  bool read_activation(const std::string& value, std::string& input, OnnxLayer& layer);
  std::string read_attention(std::string branch, OnnxLayer& layer);
  void read_attention_attributes(const OnnxNode& node, OnnxLayer& layer) const;
  void read_heads(const OnnxNode& node, OnnxLayer& layer);
  std::string take_rotary(const std::string& value, std::optional<OnnxRope>& rope);
  std::string take_head_norm(const std::string& value, std::optional<OnnxNorm>& norm);
  void read_embeddings(const std::string& value, OnnxDecoder& decoder);
  std::string read_head(const std::string& logits, OnnxDecoder& decoder);

  OnnxWalk walk_;
  int64_t hidden_size_;
};

float number_attribute(const OnnxNode& node, const std::string& name, float otherwise) {
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? otherwise : found->second.number;
}

int64_t integer_or(const OnnxNode& node, const std::string& name, int64_t otherwise) {
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? otherwise : found->second.integer;
}

bool is_skip_norm(const OnnxNode& node) {
  return node.op == kMicrosoft + "SkipSimplifiedLayerNormalization" || node.op == kMicrosoft + "SkipLayerNormalization";
}

bool is_plain_norm(const OnnxNode& node) {
  return node.op == "SimplifiedLayerNormalization" || node.op == "LayerNormalization";
}

const OnnxTensor& DecoderReader::norm_parameter(const OnnxNode& node, size_t input) const {
  const auto found = walk_.graph().initializers.find(node.input(input));
  if (found == walk_.graph().initializers.end() || found->second.shape.size() != 1) {
    walk_.refuse(node, fmt::format("has the weight or bias \"{}\", expected an initializer with one dimension",
                                   node.input(input)));
  }
  return found->second;
}

OnnxNorm DecoderReader::norm_of(const OnnxNode& node, size_t weight_input) const {
  OnnxNorm norm{norm_parameter(node, weight_input), {}, number_attribute(node, "epsilon", 1e-5f)};
  size_t next = weight_input + 1;
  if (node.op.find("Simplified") == std::string::npos) norm.bias = norm_parameter(node, next++);
  for (; next < node.inputs.size(); ++next) {
    if (node.input(next).empty()) continue;
    walk_.refuse(node, fmt::format("has the input {}, expected none there", node.input(next)));
  }
  if (const int64_t axis = integer_or(node, "axis", -1); axis != -1) {
    walk_.refuse(node, fmt::format("has axis {}, expected -1", axis));
  }
  return norm;
}

bool DecoderReader::is_embedding(const std::string& value) {
  const OnnxNode* node = walk_.maker(value);
  if (!node) return false;
  if (node->op == "Mul" && walk_.constant_number(node->input(1))) node = walk_.maker(node->input(0));
  if (!node) return false;
  return node->op == kMicrosoft + "GatherBlockQuantized" || (node->op == "Gather" && walk_.constant(node->input(0)));
}

/// True for the hidden states that branches are added to.
bool DecoderReader::is_stream(const std::string& value) {
  const OnnxNode* node = walk_.maker(value);
  if (!node) return false;
  if (is_skip_norm(*node)) {
    return node->outputs.size() > 3 && node->outputs[3] == walk_.plain(value);
  }
  if (node->op == "Add") return !walk_.constant(node->input(0)) && !walk_.constant(node->input(1));
  return is_embedding(value);
}

DecoderReader::Normalized DecoderReader::normalized(const std::string& value) {
  Normalized result;
  std::array<std::string, 2> terms;
  const OnnxNode* node = walk_.maker(value);
  if (!node) {
    fail(ErrorKind::kUnsupported, "{}: no node makes {}, where a normalized value is expected", walk_.origin(), value);
  }
  walk_.understand(*node);
  if (is_skip_norm(*node)) {
    if (node->outputs.empty() || node->outputs[0] != walk_.plain(value)) {
      walk_.refuse(*node, fmt::format("is read as {}, where its normalized output is expected", value));
    }
    result.norm = norm_of(*node, 2);
    terms = {node->input(0), node->input(1)};
  } else if (is_plain_norm(*node)) {
    result.norm = norm_of(*node, 1);
    result.stream = walk_.plain(node->input(0));
    if (is_embedding(result.stream)) return result;
    // The sum that an earlier node has made for others too, or one made for this norm alone.
    const OnnxNode* sum = walk_.maker(result.stream);
    const bool is_sum = sum && is_stream(result.stream);
    if (!is_sum) walk_.refuse(*node, fmt::format("normalizes {}, expected a sum or embeddings", node->input(0)));
    walk_.understand(*sum);
    terms = {sum->input(0), sum->input(1)};
  } else {
    walk_.refuse(*node, fmt::format("makes {}, where a normalized value is expected", value));
  }
  const size_t stream = is_stream(terms[0]) ? 0 : 1;
  result.stream = walk_.plain(terms[stream]);
  result.branch = walk_.plain(terms[1 - stream]);
  if (!is_stream(result.stream)) {
    const OnnxNode* other = walk_.maker(terms[0]);
    if (other) walk_.refuse(*other, fmt::format("makes {}, where hidden states are expected", terms[0]));
    fail(ErrorKind::kUnsupported, "{}: no node makes {}, where hidden states are expected", walk_.origin(), terms[0]);
  }
  return result;
}

std::optional<OnnxNorm> DecoderReader::take_post_norm(std::string& branch) {
  const OnnxNode* node = walk_.maker(branch, "SimplifiedLayerNormalization");
  if (!node) return std::nullopt;
  branch = walk_.plain(node->input(0));
  return norm_of(*node, 1);
}

/// Whether a value is an activation, of what, and which.
bool DecoderReader::read_activation(const std::string& value, std::string& input, OnnxLayer& layer) {
  const OnnxNode* node = walk_.maker(value);
  if (!node) return false;
  layer.activation = "gelu_pytorch_tanh";
  if (node->op == "Mul") {
    for (const size_t side : {0, 1}) {
      const OnnxNode* sigmoid = walk_.maker(node->input(side));
      if (!sigmoid || sigmoid->op != "Sigmoid") continue;
      if (walk_.plain(sigmoid->input(0)) != walk_.plain(node->input(1 - side))) continue;
      walk_.understand(*sigmoid);
      input = node->input(1 - side);
      layer.activation = "silu";
    }
    if (layer.activation != "silu") return false;
  } else if (node->op == kMicrosoft + "QuickGelu") {
    if (number_attribute(*node, "alpha", 1.702f) != 1) walk_.refuse(*node, "has an alpha other than 1, that of SiLU");
    input = node->input(0);
    layer.activation = "silu";
  } else if (node->op == "Gelu" || node->op == kMicrosoft + "FastGelu") {
    const auto form = node->attributes.find("approximate");
    if (node->op == "Gelu" && (form == node->attributes.end() || form->second.text != "tanh")) {
      walk_.refuse(*node, "is not in its tanh form");
    }
    if (!node->input(1).empty()) walk_.refuse(*node, "has a bias");
    input = node->input(0);
  } else {
    return false;
  }
  walk_.understand(*node);
  return true;
}

/// What the activated one of a product's factors was before; `up` becomes the other factor.
std::string DecoderReader::activated(const OnnxNode& product, std::string& up, OnnxLayer& layer) {
  std::string input;
  for (const size_t side : {0, 1}) {
    if (!read_activation(product.input(side), input, layer)) continue;
    up = product.input(1 - side);
    return input;
  }
  walk_.refuse(product, "has no factor that is SiLU or GELU of a linear");
}

/// Reads the MLP that makes `branch`, and returns its normalized input.
std::string DecoderReader::read_mlp(std::string branch, OnnxLayer& layer) {
  layer.post_mlp_norm = take_post_norm(branch);
  layer.down = walk_.linear(branch);
  std::string up;
  if (read_activation(layer.down.input, up, layer)) {
    layer.up = walk_.linear(up);
    return layer.up.input;
  }
  const OnnxNode* product = walk_.maker(layer.down.input, "Mul");
  if (!product) {
    fail(ErrorKind::kUnsupported, "{} reads {}, expected the product of an activation and a linear",
         layer.down.matrix.name, layer.down.input);
  }
  layer.gate = walk_.linear(activated(*product, up, layer));
  layer.up = walk_.linear(up);
  if (layer.gate->input != layer.up.input) {
    walk_.refuse(*product,
                 fmt::format("joins linears of {} and {}, expected the same input", layer.gate->input, layer.up.input));
  }
  return layer.up.input;
}

void DecoderReader::read_attention_attributes(const OnnxNode& node, OnnxLayer& layer) const {
  constexpr int64_t kMost = 1 << 20;
  layer.heads = integer_attribute(node, "num_heads", 1, kMost, walk_.origin(node));
  layer.kv_heads = integer_attribute(node, "kv_num_heads", 1, kMost, walk_.origin(node));
  layer.scale = number_attribute(node, "scale", 0);
  layer.soft_cap = number_attribute(node, "softcap", 0);
  // The token itself is one of local_window_size; -1 is no window.
  const int64_t window = integer_or(node, "local_window_size", -1);
  if (window < -1 || window == 0 || window > INT32_MAX) {
    walk_.refuse(node, fmt::format("has local_window_size {}", window));
  }
  layer.window = std::max<int64_t>(window, 0);
  // sliding_window_cache is about what the cache keeps.
  static const std::set<std::string> known = {
      "num_heads", "kv_num_heads", "scale", "softcap", "do_rotary", "local_window_size", "sliding_window_cache"};
  for (const auto& [name, value] : node.attributes) {
    const bool neutral = value.integer <= 0 && value.number == 0 && (value.text.empty() || value.text == "NONE");
    if (!known.contains(name) && !neutral) walk_.refuse(node, fmt::format("has the attribute {}", name));
  }
}

/// Query, key and value of an attention node: one linear of all three, or one each.
void DecoderReader::read_heads(const OnnxNode& node, OnnxLayer& layer) {
  std::optional<OnnxRope> key_rope;
  std::string query = take_rotary(node.input(0), layer.rope);
  if (node.input(1).empty()) {
    const OnnxLinear whole = walk_.linear(query);
    const int64_t all = layer.heads + 2 * layer.kv_heads;
    const int64_t size = whole.matrix.out_features / all;
    if (layer.rope || whole.matrix.out_features % all != 0) {
      walk_.refuse(node, fmt::format("reads {} outputs as {} heads", whole.matrix.out_features, all));
    }
    layer.query = whole.rows(0, layer.heads * size);
    layer.key = whole.rows(layer.heads * size, layer.kv_heads * size);
    layer.value = whole.rows((layer.heads + layer.kv_heads) * size, layer.kv_heads * size);
  } else {
    std::string key = take_rotary(node.input(1), key_rope);
    if (key_rope != layer.rope) walk_.refuse(node, "turns queries and keys in different ways");
    layer.query = walk_.linear(take_head_norm(query, layer.query_norm));
    layer.key = walk_.linear(take_head_norm(key, layer.key_norm));
    layer.value = walk_.linear(node.input(2));
  }
  const bool rotary = integer_or(node, "do_rotary", 0) == 1;
  if (rotary == node.input(7).empty() || (rotary && layer.rope)) {
    walk_.refuse(node, "has do_rotary but no tables, or tables but no do_rotary, or is turned twice");
  }
  if (rotary) {
    layer.rope = read_rope_tables(walk_, node, node.input(7), node.input(8));
    if (!node.input(9).empty()) read_rope_positions(walk_, node, node.input(9), *layer.rope);
  }
  for (size_t i = rotary ? 10 : 9; i < node.inputs.size(); ++i) {
    if (!node.input(i).empty()) walk_.refuse(node, fmt::format("has the input {}, expected none there", node.input(i)));
  }
}

/// Reads the attention that makes `branch`, and returns its normalized input.
std::string DecoderReader::read_attention(std::string branch, OnnxLayer& layer) {
  static const std::set<std::string> mask_ops = {"ReduceSum", "Sub", "Cast", "Shape", "Gather", "Squeeze", "Greater"};
  layer.post_attention_norm = take_post_norm(branch);
  layer.output = walk_.linear(branch);
  const OnnxNode* node = walk_.maker(layer.output.input, kMicrosoft + "GroupQueryAttention");
  if (!node || node->outputs[0] != layer.output.input) {
    const OnnxNode* other = walk_.maker(layer.output.input);
    if (other) walk_.refuse(*other, "is not supported, expected GroupQueryAttention");
    fail(ErrorKind::kUnsupported, "{} reads {}, expected GroupQueryAttention", layer.output.matrix.name,
         layer.output.input);
  }
  read_attention_attributes(*node, layer);
  read_heads(*node, layer);
  for (const size_t lengths : {5, 6}) walk_.understand_all_before(node->input(lengths), mask_ops, {"attention_mask"});
  if (layer.query.input != layer.key.input || layer.query.input != layer.value.input) {
    walk_.refuse(*node, "reads linears of different inputs");
  }
  return layer.query.input;
}

/// The value before a RotaryEmbedding node, if it is one.
std::string DecoderReader::take_rotary(const std::string& value, std::optional<OnnxRope>& rope) {
  const OnnxNode* node = walk_.maker(value, kMicrosoft + "RotaryEmbedding");
  if (!node) return value;
  rope = read_rope_tables(walk_, *node, node->input(2), node->input(3));
  const int64_t turning = integer_or(*node, "rotary_embedding_dim", 0);
  for (const auto& [name, attribute] : node->attributes) {
    const bool fine =
        name == "num_heads" || name == "rotary_embedding_dim" || (name == "scale" && attribute.number == 1);
    if (!fine && attribute.integer != 0) walk_.refuse(*node, fmt::format("has the attribute {}", name));
  }
  if (turning != 0 && turning != 2 * rope->table.cosines->shape.back()) {
    walk_.refuse(*node, fmt::format("turns {} dimensions, but its tables are for {}", turning,
                                    2 * rope->table.cosines->shape.back()));
  }
  read_rope_positions(walk_, *node, node->input(1), *rope);
  return node->input(0);
}

/// The value before the norm of each head, if there is one: reshaped to heads, normalized, reshaped back.
std::string DecoderReader::take_head_norm(const std::string& value, std::optional<OnnxNorm>& norm) {
  const OnnxNode* back = walk_.maker(value, "Reshape");
  if (!back) return value;
  const OnnxNode* node = walk_.maker(back->input(0), "SimplifiedLayerNormalization");
  const OnnxNode* to_heads = node ? walk_.maker(node->input(0), "Reshape") : nullptr;
  if (!to_heads) walk_.refuse(*back, "is expected to follow the norm of each head");
  norm = norm_of(*node, 1);
  const auto shape = walk_.constant_integers(to_heads->input(1));
  if (!shape || shape->back() != norm->weight.elements()) {
    walk_.refuse(*to_heads, fmt::format("is expected to make heads of {}", norm->weight.elements()));
  }
  return to_heads->input(0);
}

void DecoderReader::read_embeddings(const std::string& value, OnnxDecoder& decoder) {
  const OnnxNode* node = walk_.maker(value);
  if (const OnnxNode* product = walk_.maker(value, "Mul")) {
    decoder.embedding_scale = *walk_.constant_number(product->input(1));
    node = walk_.maker(product->input(0));
  }
  walk_.understand(*node);
  if (node->input(1) != "input_ids") walk_.refuse(*node, fmt::format("gathers by {}", node->input(1)));
  if (node->op == "Gather") {
    if (integer_or(*node, "axis", 0) != 0) walk_.refuse(*node, "gathers along another axis than the first");
    decoder.embeddings = make_dense_matrix(*walk_.constant(node->input(0)), false, walk_.origin(*node));
    return;
  }
  const OnnxNode* reshape = walk_.maker(node->input(0), "Reshape");
  const OnnxTensor* codes = walk_.constant(reshape ? reshape->input(0) : node->input(0));
  if (!codes) walk_.refuse(*node, fmt::format("gathers from {}, which is no initializer", node->input(0)));
  OnnxTensor data = *codes;
  if (reshape) {
    const auto shape = walk_.constant_integers(reshape->input(1));
    if (!shape || shape->size() != 2 || data.shape.empty() || (*shape)[0] != data.shape[0]) {
      walk_.refuse(*reshape, "is expected to keep the rows of a matrix");
    }
    data.shape = *shape;
  }
  decoder.embeddings = read_gather_block_quantized(walk_.graph(), *node, data, hidden_size_, walk_.origin(*node));
}

/// Reads the head, and returns its normalized input.
std::string DecoderReader::read_head(const std::string& logits, OnnxDecoder& decoder) {
  std::string value = logits;
  const OnnxNode* product = walk_.maker(value, "Mul");
  const OnnxNode* tanh = product ? walk_.maker(product->input(0), "Tanh") : nullptr;
  const OnnxNode* quotient = tanh ? walk_.maker(tanh->input(0), "Div") : nullptr;
  if (product) {
    const auto cap = walk_.constant_number(product->input(1));
    if (!quotient || !cap || !(*cap > 0) || walk_.constant_number(quotient->input(1)) != cap) {
      walk_.refuse(*product, "is expected to cap logits as c * tanh(logits / c)");
    }
    decoder.logit_soft_cap = *cap;
    value = quotient->input(0);
  }
  decoder.head = walk_.linear(value);
  // A graph that makes only the last token's logits picks that token first.
  const OnnxNode* unsqueeze = walk_.maker(decoder.head.input, "Unsqueeze");
  if (!unsqueeze) return decoder.head.input;
  const OnnxNode* gather = walk_.maker(unsqueeze->input(0), "Gather");
  if (!gather || walk_.constant_integers(gather->input(1)) != std::vector<int64_t>{-1} ||
      integer_or(*gather, "axis", 0) != 1) {
    walk_.refuse(*unsqueeze, "is expected to follow the last token's hidden state");
  }
  return gather->input(0);
}

/// The sum of attention and MLP, where they read the same normalized input.
const OnnxNode* DecoderReader::parallel_sum(const std::string& branch) {
  const OnnxNode* sum = walk_.maker(branch);
  if (!sum || sum->op != "Add" || walk_.constant(sum->input(0)) || walk_.constant(sum->input(1))) return nullptr;
  walk_.understand(*sum);
  return sum;
}

/// Reads the layer before a normalized value, and returns what it reads.
DecoderReader::Normalized DecoderReader::read_layer(const Normalized& after, OnnxLayer& layer) {
  if (const OnnxNode* sum = parallel_sum(after.branch)) {
    const OnnxNode* first = walk_.maker(walk_.linear(sum->input(0)).input);
    const size_t attention = first && first->op == kMicrosoft + "GroupQueryAttention" ? 0 : 1;
    const std::string input = read_mlp(sum->input(1 - attention), layer);
    if (read_attention(sum->input(attention), layer) != input) {
      walk_.refuse(*sum, "adds attention and an MLP of different inputs");
    }
    return normalized(input);
  }
  const Normalized middle = normalized(read_mlp(after.branch, layer));
  layer.mlp_norm = middle.norm;
  if (middle.branch.empty()) {
    fail(ErrorKind::kUnsupported, "{}: an MLP comes before any attention", layer.down.matrix.name);
  }
  return normalized(read_attention(middle.branch, layer));
}

OnnxDecoder DecoderReader::read(const std::string& logits) {
  OnnxDecoder decoder;
  const auto& outputs = walk_.graph().outputs;
  if (std::find(outputs.begin(), outputs.end(), logits) == outputs.end()) {
    fail(ErrorKind::kInvalidInput, "{}: has no output {}", walk_.origin(), logits);
  }
  Normalized below = normalized(read_head(logits, decoder));
  decoder.final_norm = below.norm;
  while (!below.branch.empty()) {
    OnnxLayer layer;
    below = read_layer(below, layer);
    layer.attention_norm = below.norm;
    decoder.layers.push_back(std::move(layer));
  }
  std::reverse(decoder.layers.begin(), decoder.layers.end());
  read_embeddings(below.stream, decoder);
  walk_.refuse_what_was_not_understood();
  return decoder;
}

}  // namespace

OnnxDecoder read_onnx_decoder(const OnnxModel& model, const std::string& logits, int64_t hidden_size) {
  return DecoderReader(model, hidden_size).read(logits);
}

}  // namespace salient::checkpoint
