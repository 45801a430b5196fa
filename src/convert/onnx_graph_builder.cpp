#include "convert/onnx_graph_builder.h"

#include <array>
#include <utility>

#include "convert/onnx_numbers.h"
#include "core/error.h"

namespace salient::convert {

using core::ErrorKind;
using core::fail;
using model::DecoderLayer;
using model::Norm;

namespace {

const std::string kMicrosoft = "com.microsoft.";
const std::string kEmbeddings = "/model/embed_tokens";
const std::string kMask = "/model/attn_mask_reformat/attn_mask_subgraph/";

std::string cache_name(const char* side, int64_t layer, const char* part) {
  return fmt::format("{}.{}.{}", side, layer, part);
}

}  // namespace

void check_graph_can_be_built(const model::DecoderSpec& spec, OnnxLayout layout, const std::string& origin) {
  constexpr int64_t kMostPositions = 1'000'000;  // what our cosines are exact for, and a table of half a gigabyte
  constexpr int64_t kRotaryMultiple = 16;        // GroupQueryAttention of ONNX Runtime takes no other
  if (spec.max_positions > kMostPositions) {
    fail(ErrorKind::kUnsupported, "{}: max_position_embeddings is {}, expected at most {} for an ONNX graph", origin,
         spec.max_positions, kMostPositions);
  }
  for (const model::Rope& rope : spec.ropes) {
    if (layout == OnnxLayout::kDml || rope.rotary_dim % kRotaryMultiple == 0) continue;
    fail(ErrorKind::kUnsupported,
         "{}: {} dimensions of a head turn, expected a multiple of {} for an ONNX graph for the CPU", origin,
         rope.rotary_dim, kRotaryMultiple);
  }
  if (spec.ropes.size() > 1 && spec.original_positions() > 0) {
    fail(
        ErrorKind::kUnsupported,
        "{}: has several rotary embeddings, some with frequencies of their own for long texts, which cannot be written "
        "as an ONNX graph",
        origin);
  }
}

OnnxGraphBuilder::OnnxGraphBuilder(OnnxModelWriter& model, const model::DecoderSpec& spec, OnnxLayout layout,
                                   OnnxLinearSettings settings)
    : model_(model), spec_(spec), layout_(layout), settings_(std::move(settings)) {}

std::string OnnxGraphBuilder::node(const std::string& op, const std::string& path, std::vector<std::string> inputs,
                                   std::map<std::string, OnnxAttributeValue> attributes) {
  const std::string output = path + "/output_0";
  model_.graph().add_node({op, path, std::move(inputs), {output}, std::move(attributes)});
  return output;
}

std::string OnnxGraphBuilder::linear(const std::string& path, const std::string& input,
                                     const core::LinearWeights& weights) {
  return add_linear(model_, settings_, path, input, weights);
}

std::string OnnxGraphBuilder::scalar(const std::string& name, float value) {
  const std::vector<std::byte> bytes = encode_numbers({&value, 1}, settings_.numbers, settings_.origin + ": " + name);
  const std::string output = "/model/constants/" + name;
  model_.graph().add_constant(
      output, {settings_.numbers, {}, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())});
  return output;
}

/// What a norm reads: some values, its weight, and its bias where it has one.
std::vector<std::string> OnnxGraphBuilder::norm_inputs(const std::string& path, std::vector<std::string> values,
                                                       const Norm& norm) {
  const std::string prefix = tensor_prefix(path);
  const std::string origin = settings_.origin + ": tensor ";
  values.push_back(add_vector(model_, prefix + ".weight", norm.weight, settings_.numbers, origin));
  if (!norm.bias.empty()) {
    values.push_back(add_vector(model_, prefix + ".bias", norm.bias, settings_.numbers, origin));
  }
  return values;
}

void OnnxGraphBuilder::add_inputs() {
  OnnxGraphMessage& graph = model_.graph();
  const OnnxDimension batch = std::string("batch_size");
  const OnnxDimension sequence = std::string("sequence_length");
  const OnnxDimension total = std::string("total_sequence_length");
  graph.add_input("input_ids", ElementType::kInt64, {batch, sequence});
  graph.add_input("attention_mask", ElementType::kInt64, {batch, total});
  if (layout_ == OnnxLayout::kDml) graph.add_input("position_ids", ElementType::kInt64, {batch, sequence});
  graph.add_output("logits", settings_.numbers, {batch, sequence, spec_.vocab_size});
  for (int64_t i = 0; i < spec_.layers; ++i) {
    for (const char* part : {"key", "value"}) {
      graph.add_input(cache_name("past_key_values", i, part), settings_.numbers,
                      {batch, spec_.kv_heads, std::string("past_sequence_length"), spec_.head_dim});
      graph.add_output(cache_name("present", i, part), settings_.numbers,
                       {batch, spec_.kv_heads, total, spec_.head_dim});
    }
  }
}

/// The places of the last tokens, int32, by the ones of the mask. DirectML adds them up as int32 already: not every
/// implementation of Direct3D converts int64 to it.
std::string OnnxGraphBuilder::last_positions() {
  const std::map<std::string, OnnxAttributeValue> to_int32 = {{"to", static_cast<int64_t>(ElementType::kInt32)}};
  const bool dml = layout_ == OnnxLayout::kDml;
  std::string mask = "attention_mask";
  if (dml) {
    const std::string ones = node("Greater", kMask + "Greater", {mask, model_.integer(0)});
    mask = node("Cast", kMask + "Greater/Cast", {ones}, to_int32);
  }
  const std::string sum =
      node("ReduceSum", kMask + "ReduceSum", {mask, model_.integers({1})}, {{"keepdims", int64_t{0}}});
  const std::string one = model_.integers({1}, dml ? ElementType::kInt32 : ElementType::kInt64);
  const std::string last = node("Sub", kMask + "Sub", {sum, one});
  return dml ? last : node("Cast", kMask + "Sub/Cast", {last}, to_int32);
}

/// What the attention operator wants to know of the mask.
void OnnxGraphBuilder::add_lengths() {
  const std::map<std::string, OnnxAttributeValue> to_int32 = {{"to", static_cast<int64_t>(ElementType::kInt32)}};
  last_positions_ = last_positions();
  const std::string shape = node("Shape", kMask + "Shape", {"attention_mask"});
  const std::string length = node("Gather", kMask + "Gather", {shape, model_.integer(1)}, {{"axis", int64_t{0}}});
  total_length_ = node("Cast", kMask + "Gather/Cast", {length}, to_int32);
  ropes_ = add_rope_tables(model_, spec_, layout_, settings_.numbers, length);
}

void OnnxGraphBuilder::begin(const core::LinearWeights& embeddings) {
  add_inputs();
  add_lengths();
  const std::string table = add_rows(model_, tensor_prefix(kEmbeddings) + ".weight", embeddings, settings_.numbers,
                                     settings_.origin + ": tensor ");
  hidden_ = node("Gather", kEmbeddings + "/Gather", {table, "input_ids"});
  if (spec_.embedding_scale == 1) return;
  hidden_ = node("Mul", kEmbeddings + "/Mul", {hidden_, scalar("embedding_scale", spec_.embedding_scale)});
}

void OnnxGraphBuilder::add_layer(int64_t index, const DecoderLayer& layer) {
  const std::string path = fmt::format("/model/layers.{}", index);
  std::string normed = normalize(path + "/input_layernorm", layer.norms.attention, /*keep_sum=*/true);
  branch_ = attend(path + "/attn", index, layer, normed);
  if (spec_.parallel_mlp) {
    branch_ = node("Add", path + "/residual_add/Add", {branch_, run_mlp(path + "/mlp", layer, normed)});
    return;
  }
  if (spec_.post_norms) {
    branch_ = normalize_alone(path + "/post_attention_layernorm", layer.norms.post_attention, branch_);
  }
  normed = normalize(path + (spec_.post_norms ? "/pre_feedforward_layernorm" : "/post_attention_layernorm"),
                     layer.norms.mlp, /*keep_sum=*/true);
  branch_ = run_mlp(path + "/mlp", layer, normed);
  if (spec_.post_norms) {
    branch_ = normalize_alone(path + "/post_feedforward_layernorm", layer.norms.post_mlp, branch_);
  }
}

void OnnxGraphBuilder::finish(const Norm& final_norm, const core::LinearWeights* head) {
  const std::string path = fmt::format("/model/layers.{}/final_norm_layernorm", spec_.layers);
  add_head(head, normalize(path, final_norm, /*keep_sum=*/false));
}

std::string OnnxGraphBuilder::normalize(const std::string& path, const Norm& norm, bool keep_sum) {
  if (branch_.empty()) return normalize_alone(path, norm, hidden_);
  if (layout_ == OnnxLayout::kDml) {
    hidden_ = node("Add", path + "/Add", {hidden_, branch_});
    branch_.clear();
    return normalize_alone(path, norm, hidden_);
  }
  const std::string output = path + "/output_0";
  const std::string sum = path + "/output_3";
  OnnxNewNode skip{kMicrosoft + (norm.bias.empty() ? "SkipSimplifiedLayerNormalization" : "SkipLayerNormalization"),
                   path + "/SkipLayerNorm",
                   norm_inputs(path, {hidden_, branch_}, norm),
                   {output},
                   {{"epsilon", spec_.norm_epsilon}}};
  if (keep_sum) skip.outputs = {output, "", "", sum};
  model_.graph().add_node(skip);
  hidden_ = sum;
  branch_.clear();
  return output;
}

/// DirectML keeps the mean square in the numbers of what it normalizes: a half overflows where hidden states are 256
/// and more on average, as those of SmolLM2's first token are, and the norm is then zero.
std::string OnnxGraphBuilder::normalize_alone(const std::string& path, const Norm& norm, std::string branch) {
  if (layout_ == OnnxLayout::kDml) {
    branch = node("Cast", path + "/Cast", {branch}, {{"to", static_cast<int64_t>(ElementType::kFloat)}});
  }
  return node(norm.bias.empty() ? "SimplifiedLayerNormalization" : "LayerNormalization", path + "/LayerNorm",
              norm_inputs(path, {branch}, norm),
              {{"epsilon", spec_.norm_epsilon}, {"axis", int64_t{-1}}, {"stash_type", int64_t{1}}});
}

std::string OnnxGraphBuilder::normalize_heads(const std::string& path, const Norm& norm, const std::string& heads,
                                              int64_t size) {
  if (norm.weight.empty()) return heads;
  const std::string split = node("Reshape", path + "/Reshape_1", {heads, model_.integers({0, -1, spec_.head_dim})});
  const std::string normed = normalize_alone(path, norm, split);
  return node("Reshape", path + "/Reshape_2", {normed, model_.integers({0, -1, size})});
}

std::string OnnxGraphBuilder::turn(const std::string& path, const OnnxRopeValues& rope, const std::string& heads,
                                   int64_t count, int64_t rotary_dim) {
  // The number of heads matters where only a part of each turns.
  const bool whole = rotary_dim == spec_.head_dim;
  return node(kMicrosoft + "RotaryEmbedding", path + "/RotaryEmbedding",
              {heads, rope.positions, rope.cosines, rope.sines},
              {{"interleaved", int64_t{0}},
               {"num_heads", whole ? int64_t{0} : count},
               {"rotary_embedding_dim", whole ? int64_t{0} : rotary_dim}});
}

std::string OnnxGraphBuilder::attend(const std::string& path, int64_t index, const DecoderLayer& layer,
                                     const std::string& input) {
  const model::LayerAttention& attention = spec_.attention[static_cast<size_t>(index)];
  const OnnxRopeValues* rope = attention.rope < 0 ? nullptr : &ropes_[static_cast<size_t>(attention.rope)];
  const std::array<const core::LinearWeights*, 3> parts = {&layer.query, &layer.key, &layer.value};
  std::optional<core::LinearWeights> joined;
  if (layout_ == OnnxLayout::kCpu && !spec_.qk_norm) joined = join_linears(parts);
  std::vector<std::string> inputs;
  if (joined) {
    inputs = {linear(path + "/qkv_proj", input, *joined), "", ""};
  } else {
    const std::string query = linear(path + "/q_proj", input, layer.query);
    const std::string key = linear(path + "/k_proj", input, layer.key);
    inputs = {normalize_heads(path + "/q_norm", layer.norms.query, query, spec_.query_size()),
              normalize_heads(path + "/k_norm", layer.norms.key, key, spec_.kv_size()),
              linear(path + "/v_proj", input, layer.value)};
  }
  const bool turns_itself = rope && layout_ == OnnxLayout::kCpu;
  if (rope && !turns_itself) {
    const int64_t rotary_dim = spec_.ropes[static_cast<size_t>(attention.rope)].rotary_dim;
    inputs[0] = turn(path + "/q_rotary", *rope, inputs[0], spec_.heads, rotary_dim);
    inputs[1] = turn(path + "/k_rotary", *rope, inputs[1], spec_.kv_heads, rotary_dim);
  }
  inputs.insert(inputs.end(), {cache_name("past_key_values", index, "key"),
                               cache_name("past_key_values", index, "value"), last_positions_, total_length_});
  if (turns_itself) inputs.insert(inputs.end(), {rope->cosines, rope->sines});
  OnnxNewNode group{kMicrosoft + "GroupQueryAttention", path + "/GroupQueryAttention", std::move(inputs)};
  group.outputs = {group.name + "/output_0", cache_name("present", index, "key"),
                   cache_name("present", index, "value")};
  group.attributes = {
      {"num_heads", spec_.heads},         {"kv_num_heads", spec_.kv_heads},
      {"scale", spec_.attention_scale},   {"do_rotary", int64_t{turns_itself}},
      {"rotary_interleaved", int64_t{0}}, {"local_window_size", attention.window > 0 ? attention.window : int64_t{-1}}};
  if (spec_.attention_soft_cap != 0) group.attributes.emplace("softcap", spec_.attention_soft_cap);
  model_.graph().add_node(group);
  return linear(path + "/o_proj", group.outputs[0], layer.output);
}

std::string OnnxGraphBuilder::activate(const std::string& path, const std::string& input) {
  if (spec_.activation == model::ActivationKind::kGelu) {
    return node(kMicrosoft + "FastGelu", path + "/FastGelu", {input});
  }
  const std::string sigmoid = node("Sigmoid", path + "/Sigmoid", {input});
  return node("Mul", path + "/Mul", {input, sigmoid});
}

std::string OnnxGraphBuilder::run_mlp(const std::string& path, const DecoderLayer& layer, const std::string& input) {
  if (!spec_.gated_mlp) {
    const std::string inner = linear(path + "/fc1", input, layer.up);
    return linear(path + "/fc2", activate(path + "/act_fn", inner), layer.down);
  }
  const std::string gate = linear(path + "/gate_proj", input, layer.gate);
  const std::string up = linear(path + "/up_proj", input, layer.up);
  const std::string inner = node("Mul", path + "/Mul", {activate(path + "/act_fn", gate), up});
  return linear(path + "/down_proj", inner, layer.down);
}

void OnnxGraphBuilder::add_head(const core::LinearWeights* head, const std::string& input) {
  const bool capped = spec_.logit_soft_cap != 0;
  const std::string output = capped ? "/lm_head/output_0" : "logits";
  if (head) {
    add_linear(model_, settings_, "/lm_head", input, *head, output);
  } else {
    model_.graph().add_node({kMicrosoft + "FusedMatMul",
                             "/lm_head/MatMul",
                             {input, tensor_prefix(kEmbeddings) + ".weight"},
                             {output},
                             {{"transB", int64_t{1}}}});
  }
  if (!capped) return;
  const std::string cap = scalar("logit_soft_cap", spec_.logit_soft_cap);
  const std::string quotient = node("Div", "/lm_head/softcap/Div", {output, cap});
  const std::string tanh = node("Tanh", "/lm_head/softcap/Tanh", {quotient});
  model_.graph().add_node({"Mul", "/lm_head/softcap/Mul", {tanh, cap}, {"logits"}});
}

}  // namespace salient::convert
