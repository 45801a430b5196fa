#include "checkpoint/onnx.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "checkpoint/gguf_architecture.h"
#include "checkpoint/onnx_decoder.h"
#include "checkpoint/safetensors.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// Typed access to genai_config.json.
class GenaiConfig {
 public:
  explicit GenaiConfig(const fs::path& path) : path_(path), config_(read_json_object(path, true)) {}

  std::string origin(const std::string& field) const { return fmt::format("{}: {}", path_.string(), field); }
  /// The field at a path such as "model.decoder.filename"; null when it is not there.
  json value(const std::string& field) const {
    const json* found = &config_;
    for (size_t begin = 0; begin <= field.size();) {
      const size_t end = std::min(field.find('.', begin), field.size());
      const std::string part = field.substr(begin, end - begin);
      if (!found->is_object() || !found->contains(part)) return nullptr;
      found = &(*found)[part];
      begin = end + 1;
    }
    return *found;
  }
  const json& value() const { return config_; }
  std::string text(const std::string& field, const json& otherwise = nullptr) const {
    json found = value(field);
    if (found.is_null()) found = otherwise;
    if (!found.is_string()) {
      fail(ErrorKind::kInvalidInput, "{} is {}, expected a string", origin(field), found.dump());
    }
    return found.get<std::string>();
  }
  int64_t size(const std::string& field) const {
    constexpr int64_t kLargest = int64_t{1} << 31;
    const json found = value(field);
    if (!found.is_number_integer() || found < 1 || found > kLargest) {
      fail(ErrorKind::kInvalidInput, "{} is {}, expected a whole number from 1 to {}", origin(field), found.dump(),
           kLargest);
    }
    return found.get<int64_t>();
  }

 private:
  fs::path path_;
  json config_;
};

bool rounds_activations(const OnnxGraph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [](const OnnxNode& node) {
    const auto level = node.attributes.find("accuracy_level");
    return level != node.attributes.end() && level->second.integer == 4;
  });
}

bool has_fused_linears(const std::string& family) {
  return family == "phi3";
}

/// Phi-2 has layer norms with biases, one norm for attention and MLP, an MLP without a gate, and names of its own.
bool is_phi(const std::string& family) {
  return family == "phi";
}

/// True for the families whose stored norms are the factors less 1.
bool has_norms_less_one(const std::string& family) {
  return family.starts_with("gemma");
}

/// A tensor of our own: fp32 numbers kept alive beside the file they come from.
StoredTensor make_tensor(std::vector<float> values, std::shared_ptr<const core::MappedFile> file) {
  struct Owned {
    std::vector<float> values;
    std::shared_ptr<const core::MappedFile> file;
  };
  const auto owned = std::make_shared<const Owned>(Owned{std::move(values), std::move(file)});
  StoredTensor stored;
  stored.view = {DType::kF32, {std::ssize(owned->values)}, std::as_bytes(std::span(owned->values))};
  stored.file = {owned, owned->file.get()};
  return stored;
}

StoredTensor stored_vector(const OnnxVector& vector, const std::string& origin) {
  const auto dtype = vector.tensor.dtype();
  if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16) {
    fail(ErrorKind::kUnsupported, "{}: tensor {} is not F32, F16 or BF16", origin, vector.tensor.name);
  }
  const size_t size = static_cast<size_t>(core::info_of(*dtype).block_bytes);
  StoredTensor stored;
  stored.view = {
      *dtype,
      {vector.count},
      vector.tensor.bytes.subspan(static_cast<size_t>(vector.first) * size, static_cast<size_t>(vector.count) * size)};
  stored.file = vector.tensor.file;
  return stored;
}

/// The fields of one rotary embedding as an object of rope_parameters, which has one for each type of layer.
json as_rope_parameters(const json& fields) {
  if (fields.contains("rope_parameters")) return fields["rope_parameters"];
  json parameters = {{"rope_type", "default"}, {"rope_theta", fields["rope_theta"]}};
  if (fields["rope_scaling"].is_object()) parameters.update(fields["rope_scaling"]);
  return parameters;
}

/// Names what a decoder has as transformers does.
class Translator {
 public:
  Translator(const GenaiConfig& genai, const OnnxDecoder& decoder, Checkpoint& checkpoint)
      : genai_(genai), decoder_(decoder), checkpoint_(checkpoint), family_(genai.text("model.type")) {}

  void translate() {
    check_layers();
    make_config();
    make_tokens();
    add_norm(is_phi(family_) ? "model.final_layernorm" : "model.norm", decoder_.final_norm);
    add_matrix(checkpoint_, "model.embed_tokens", {decoder_.embeddings});
    if (!tied()) add_linear("lm_head", {decoder_.head});
    for (size_t i = 0; i < decoder_.layers.size(); ++i)
      add_layer(decoder_.layers[i], fmt::format("model.layers.{}.", i));
  }

 private:
  std::string origin() const { return checkpoint_.path.string(); }
  bool tied() const { return !decoder_.head.bias && decoder_.head.matrix.same_as(decoder_.embeddings); }
  int64_t head_size() const { return genai_.size("model.decoder.head_size"); }

  /// Throws unless a number is the same in all layers, as config.json has only one.
  template <typename Number>
  Number same_in_all(const char* what, Number (*number)(const OnnxLayer&)) const {
    const Number first = number(decoder_.layers.front());
    for (size_t i = 1; i < decoder_.layers.size(); ++i) {
      if (const Number other = number(decoder_.layers[i]); other != first) {
        fail(ErrorKind::kUnsupported, "{}: {} is {} in layer 0 and {} in layer {}, expected the same", origin(), what,
             first, other, i);
      }
    }
    return first;
  }

  void check_size(const std::string& field, int64_t found) const {
    if (const int64_t expected = genai_.size(field); expected != found) {
      fail(ErrorKind::kInvalidInput, "{} is {}, but the graph has {}", genai_.origin(field), expected, found);
    }
  }

  void check_layers() const {
    check_size("model.decoder.num_hidden_layers", std::ssize(decoder_.layers));
    check_size("model.vocab_size", decoder_.head.matrix.out_features);
    check_size("model.decoder.hidden_size", decoder_.head.matrix.in_features);
    check_size("model.decoder.num_attention_heads",
               same_in_all<int64_t>("num_heads", [](const OnnxLayer& layer) { return layer.heads; }));
    check_size("model.decoder.num_key_value_heads",
               same_in_all<int64_t>("kv_num_heads", [](const OnnxLayer& layer) { return layer.kv_heads; }));
    const float epsilon = decoder_.final_norm.epsilon;
    for (const OnnxLayer& layer : decoder_.layers) {
      for (const auto& norm : {std::optional(layer.attention_norm), layer.mlp_norm, layer.query_norm, layer.key_norm,
                               layer.post_attention_norm, layer.post_mlp_norm}) {
        if (norm && norm->epsilon != epsilon) {
          fail(ErrorKind::kUnsupported, "{}: the norms have epsilons {} and {}, expected the same", origin(), epsilon,
               norm->epsilon);
        }
      }
    }
  }

  void make_config() {
    json& config = checkpoint_.config;
    config = {
        {"architectures", {class_name()}},
        {"model_type", family_},
        {"vocab_size", genai_.size("model.vocab_size")},
        {"hidden_size", genai_.size("model.decoder.hidden_size")},
        {"intermediate_size",
         same_in_all<int64_t>("the MLP's size", [](const OnnxLayer& layer) { return layer.up.matrix.out_features; })},
        {"num_hidden_layers", decoder_.layers.size()},
        {"num_attention_heads", decoder_.layers.front().heads},
        {"num_key_value_heads", decoder_.layers.front().kv_heads},
        {"head_dim", head_size()},
        {"max_position_embeddings", genai_.size("model.context_length")},
        {is_phi(family_) ? "layer_norm_eps" : "rms_norm_eps",
         std::stod(fmt::format("{}", decoder_.final_norm.epsilon))},
        {"hidden_act",
         same_in_all<std::string>("the activation", [](const OnnxLayer& layer) { return layer.activation; })},
        {"tie_word_embeddings", tied()},
    };
    add_attention(config);
    add_windows(config);
    add_rope(config);
  }

  /// transformers' class of the family.
  std::string class_name() const {
    if (family_ == "mistral") return "MistralForCausalLM";
    return architecture_of(family_, origin()).second.class_name;
  }

  void add_attention(json& config) {
    const float scale = same_in_all<float>("scale", [](const OnnxLayer& layer) { return layer.scale; });
    const float usual = 1 / std::sqrt(static_cast<float>(head_size()));
    const bool scale_is_usual = scale == 0 || std::fabs(scale - usual) <= 1e-6f * usual;
    if (has_norms_less_one(family_)) {
      const double scalar = 1 / (double{scale_is_usual ? usual : scale} * (scale_is_usual ? usual : scale));
      const double whole = std::round(scalar);
      config["query_pre_attn_scalar"] = std::fabs(scalar - whole) < 1e-3 * whole ? whole : scalar;
      // The builder rounds the root to two decimals.
      const double root = std::sqrt(static_cast<double>(genai_.size("model.decoder.hidden_size")));
      if (std::fabs(decoder_.embedding_scale - root) > 0.006 + 0.004 * root) {
        fail(ErrorKind::kUnsupported, "{}: embeddings are multiplied by {}, expected {}", origin(),
             decoder_.embedding_scale, root);
      }
    } else if (!scale_is_usual) {
      config["attention_multiplier"] = scale;
    }
    if (!has_norms_less_one(family_) && decoder_.embedding_scale != 1) {
      config["embedding_multiplier"] = decoder_.embedding_scale;
    }
    const float cap = same_in_all<float>("softcap", [](const OnnxLayer& layer) { return layer.soft_cap; });
    if (cap != 0) config["attn_logit_softcapping"] = cap;
    if (decoder_.logit_soft_cap != 0) config["final_logit_softcapping"] = decoder_.logit_soft_cap;
  }

  void add_windows(json& config) const {
    std::set<int64_t> windows;
    json types = json::array();
    for (const OnnxLayer& layer : decoder_.layers) {
      types.push_back(layer.window > 0 ? "sliding_attention" : "full_attention");
      if (layer.window > 0) windows.insert(layer.window);
    }
    if (windows.size() > 1) {
      fail(ErrorKind::kUnsupported, "{}: layers have windows of {} tokens, expected one size", origin(),
           fmt::join(windows, " and "));
    }
    if (windows.empty()) return;
    if (family_.starts_with("qwen") || family_ == "smollm3") config["use_sliding_window"] = true;
    config["sliding_window"] = *windows.begin();
    config["layer_types"] = types;
  }

  /// The rotary embedding of all layers that turn, or one of those that see everything and one of those that do not.
  void add_rope(json& config) const {
    std::map<std::string, const OnnxRope*> ropes;  // by the type of layer
    json turns = json::array();
    for (const OnnxLayer& layer : decoder_.layers) {
      turns.push_back(layer.rope ? 1 : 0);
      if (!layer.rope) continue;
      const OnnxRope*& rope = ropes[layer.window > 0 ? "sliding_attention" : "full_attention"];
      if (rope && *rope != *layer.rope) {
        fail(ErrorKind::kUnsupported, "{}: layers of one type have different rotary embeddings", origin());
      }
      rope = &*layer.rope;
    }
    if (ropes.empty()) fail(ErrorKind::kUnsupported, "{}: no layer has a rotary embedding", origin());
    if (*ropes.begin()->second == *ropes.rbegin()->second) {
      config.update(recover_rope(*ropes.begin()->second, config, origin()));
    } else {
      for (const auto& [type, rope] : ropes) {
        config["rope_parameters"][type] = as_rope_parameters(recover_rope(*rope, config, origin()));
      }
    }
    const bool all = std::find(turns.begin(), turns.end(), json(0)) == turns.end();
    if (!all || family_ == "smollm3") config["no_rope_layers"] = turns;
  }

  void make_tokens() {
    for (const char* field : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
      const json id = genai_.value(std::string("model.") + field);
      if (!id.is_null()) checkpoint_.generation_config[field] = checkpoint_.config[field] = id;
    }
  }

  void add_norm(const std::string& name, const OnnxNorm& norm) {
    StoredTensor stored = stored_vector({norm.weight, 0, norm.weight.elements()}, origin());
    checkpoint_.tensors[name + ".weight"] = stored;
    if (norm.bias.has_value() != is_phi(family_)) {
      fail(ErrorKind::kUnsupported, "{}: {} has a bias where {} has none, or none where it has", origin(), name,
           family_);
    }
    if (norm.bias) {
      checkpoint_.tensors[name + ".bias"] = stored_vector({*norm.bias, 0, norm.bias->elements()}, origin());
    }
    if (!has_norms_less_one(family_)) return;
    std::vector<float> values = checkpoint_.vector(name + ".weight", norm.weight.elements());
    for (float& value : values) value -= 1;
    checkpoint_.tensors[name + ".weight"] = make_tensor(std::move(values), stored.file);
  }

  void add_linear(const std::string& prefix, const std::vector<OnnxLinear>& parts) {
    std::vector<OnnxMatrix> matrices;
    for (const OnnxLinear& part : parts) {
      matrices.push_back(part.matrix);
      if (part.bias && parts.size() > 1) {
        fail(ErrorKind::kUnsupported, "{}: has a bias, which {} of {} has not", part.matrix.name, prefix, family_);
      }
    }
    add_matrix(checkpoint_, prefix, matrices);
    if (parts[0].bias) checkpoint_.tensors[prefix + ".bias"] = stored_vector(*parts[0].bias, parts[0].matrix.name);
  }

  void add_layer(const OnnxLayer& layer, const std::string& prefix) {
    add_norm(prefix + "input_layernorm", layer.attention_norm);
    const bool post_norms = layer.post_attention_norm.has_value();
    if (post_norms != layer.post_mlp_norm.has_value() || post_norms != has_norms_less_one(family_)) {
      fail(ErrorKind::kUnsupported, "{}: {} has norms after attention and MLP where {} has not", origin(), prefix,
           family_);
    }
    if (layer.mlp_norm.has_value() == is_phi(family_) || layer.gate.has_value() == is_phi(family_)) {
      fail(ErrorKind::kUnsupported, "{}: {} has a norm before the MLP or a gate in it where {} has not, or the reverse",
           origin(), prefix, family_);
    }
    if (layer.mlp_norm) {
      add_norm(prefix + (post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm"), *layer.mlp_norm);
    }
    if (post_norms) {
      add_norm(prefix + "post_attention_layernorm", *layer.post_attention_norm);
      add_norm(prefix + "post_feedforward_layernorm", *layer.post_mlp_norm);
    }
    if (layer.query_norm.has_value() != layer.key_norm.has_value() ||
        layer.query_norm.has_value() != (family_ == "qwen3" || family_ == "gemma3_text")) {
      fail(ErrorKind::kUnsupported, "{}: {} has norms of queries and keys where {} has not", origin(), prefix, family_);
    }
    if (layer.query_norm) {
      add_norm(prefix + "self_attn.q_norm", *layer.query_norm);
      add_norm(prefix + "self_attn.k_norm", *layer.key_norm);
    }
    if (has_fused_linears(family_)) {
      add_linear(prefix + "self_attn.qkv_proj", {layer.query, layer.key, layer.value});
      add_linear(prefix + "mlp.gate_up_proj", {*layer.gate, layer.up});
    } else {
      add_linear(prefix + "self_attn.q_proj", {layer.query});
      add_linear(prefix + "self_attn.k_proj", {layer.key});
      add_linear(prefix + "self_attn.v_proj", {layer.value});
      if (layer.gate) add_linear(prefix + "mlp.gate_proj", {*layer.gate});
      add_linear(prefix + (is_phi(family_) ? "mlp.fc1" : "mlp.up_proj"), {layer.up});
    }
    add_linear(prefix + (is_phi(family_) ? "self_attn.dense" : "self_attn.o_proj"), {layer.output});
    add_linear(prefix + (is_phi(family_) ? "mlp.fc2" : "mlp.down_proj"), {layer.down});
  }

  const GenaiConfig& genai_;
  const OnnxDecoder& decoder_;
  Checkpoint& checkpoint_;
  std::string family_;
};

}  // namespace

bool is_onnx_folder(const fs::path& path) {
  return fs::exists(path / "genai_config.json") && !fs::exists(path / "model.safetensors") &&
         !fs::exists(path / "model.safetensors.index.json");
}

Checkpoint open_onnx_folder(const fs::path& folder) {
  const GenaiConfig genai(folder / "genai_config.json");
  for (const char* field : {"model.decoder.pipeline", "model.encoder", "model.vision", "model.speech"}) {
    if (const json found = genai.value(field); !found.is_null()) {
      fail(ErrorKind::kUnsupported, "{} is there, expected a model that is one decoder", genai.origin(field));
    }
  }
  const std::string filename = genai.text("model.decoder.filename");
  const fs::path path = path_inside(folder, filename, genai.origin("model.decoder.filename"));
  if (!fs::exists(path)) {
    fail(ErrorKind::kNotFound, "{}: is missing; model.decoder.filename of genai_config.json names it", path.string());
  }
  Checkpoint checkpoint;
  checkpoint.path = folder;
  checkpoint.format = "onnx";
  checkpoint.generation_config = json::object();
  const json tokenizer_folder = genai.value("model.tokenizer_dir");
  add_tokenizer_files(tokenizer_folder.is_null()
                          ? folder
                          : path_inside(folder, genai.text("model.tokenizer_dir"), genai.origin("model.tokenizer_dir")),
                      checkpoint);
  const OnnxModel model = read_onnx(path);
  checkpoint.onnx = OnnxFolder{path, genai.value(), rounds_activations(model.graph)};
  const OnnxDecoder decoder = read_onnx_decoder(model, genai.text("model.decoder.outputs.logits", "logits"),
                                                genai.size("model.decoder.hidden_size"));
  if (decoder.layers.empty()) fail(ErrorKind::kUnsupported, "{}: has no decoder layers", path.string());
  Translator(genai, decoder, checkpoint).translate();
  return checkpoint;
}

}  // namespace salient::checkpoint
