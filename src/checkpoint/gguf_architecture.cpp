#include "checkpoint/gguf_architecture.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

using Parts = std::map<std::string_view, std::string_view>;

/// ggml's names of tensors and those of transformers, less ".weight" and ".bias".
const Parts& usual_parts() {
  static const Parts parts = {
      {"token_embd", "model.embed_tokens"},
      {"output_norm", "model.norm"},
      {"output", "lm_head"},
      {"attn_norm", "input_layernorm"},
      {"attn_q", "self_attn.q_proj"},
      {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},
      {"attn_qkv", "self_attn.qkv_proj"},
      {"attn_q_norm", "self_attn.q_norm"},
      {"attn_k_norm", "self_attn.k_norm"},
      {"attn_output", "self_attn.o_proj"},
      {"ffn_norm", "post_attention_layernorm"},
      {"ffn_gate", "mlp.gate_proj"},
      {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"},
  };
  return parts;
}

const Parts kGemmaParts = {
    {"post_attention_norm", "post_attention_layernorm"},
    {"ffn_norm", "pre_feedforward_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
};

const Parts kPhi2Parts = {
    {"output_norm", "model.final_layernorm"},
    {"attn_output", "self_attn.dense"},
    {"ffn_up", "mlp.fc1"},
    {"ffn_down", "mlp.fc2"},
};

/// Files of Mistral call themselves llama and leave the window of its first version out; one that has it means it.
void add_llama_fields(const GgufFields& fields, json& config) {
  const int64_t window = fields.integer_or("attention.sliding_window", 0);
  if (window == 0) return;
  config["model_type"] = "mistral";
  config["architectures"] = {"MistralForCausalLM"};
  config["sliding_window"] = window;
}

/// The converter writes a window of 0 for none.
void add_phi3_fields(const GgufFields& fields, json& config) {
  const int64_t window = fields.integer_or("attention.sliding_window", 0);
  config["sliding_window"] = window > 0 ? json(window) : json();
  const char* original = "rope.scaling.original_context_length";
  config["original_max_position_embeddings"] = fields.integer_or(original, config["max_position_embeddings"]);
  if (config["original_max_position_embeddings"] < 2) fields.refuse(original, "2 or more");
  config["resid_pdrop"] = 0.0;
  config["embd_pdrop"] = 0.0;
}

void add_qwen_fields(const GgufFields&, json& config) {
  config["use_sliding_window"] = false;
}

/// Every fourth layer does not turn; the files do not say it.
void add_smollm3_fields(const GgufFields&, json& config) {
  config["use_sliding_window"] = false;
  config["no_rope_layer_interval"] = 4;
}

/// Which layers see a window: a flag for each, or all but each n-th; without the field n is `usual_period`.
std::vector<bool> read_window_pattern(const GgufFields& fields, int64_t layers, int64_t usual_period) {
  constexpr const char* kField = "attention.sliding_window_pattern";
  if (const auto* flags = fields.integers(kField)) {
    if (std::ssize(*flags) != layers) fields.refuse(kField, fmt::format("{} flags, one a layer", layers));
    return {flags->begin(), flags->end()};
  }
  const int64_t period = fields.integer_or(kField, usual_period);
  if (period < 1) fields.refuse(kField, "1 or more");
  std::vector<bool> pattern;
  for (int64_t i = 0; i < layers; ++i) pattern.push_back((i + 1) % period != 0);
  return pattern;
}

/// What Gemma 2 and 3 have in common. The scale of attention is not in the files: it is that of a head, but for the
/// largest model, of `largest` layers.
void add_gemma_fields(const GgufFields& fields, int64_t window, int64_t period, int64_t largest, json& config) {
  const int64_t layers = config["num_hidden_layers"];
  const int64_t heads = config["num_attention_heads"];
  constexpr int64_t kMostLayers = 65536;
  if (layers > kMostLayers) fields.refuse("block_count", fmt::format("up to {}", kMostLayers));
  if (heads < 1) fields.refuse("attention.head_count", "1 or more");
  config["sliding_window"] = window;
  config["layer_types"] = json::array();
  for (const bool sliding : read_window_pattern(fields, layers, period)) {
    config["layer_types"].push_back(sliding ? "sliding_attention" : "full_attention");
  }
  config["query_pre_attn_scalar"] =
      layers == largest ? config["hidden_size"].get<int64_t>() / heads : config["head_dim"].get<int64_t>();
}

void add_gemma2_fields(const GgufFields& fields, json& config) {
  add_gemma_fields(fields, fields.integer_or("attention.sliding_window", 4096), 2, 46, config);
  config["attn_logit_softcapping"] = fields.number_or("attn_logit_softcapping", 50);
  config["final_logit_softcapping"] = fields.number_or("final_logit_softcapping", 30);
}

void add_gemma3_fields(const GgufFields& fields, json& config) {
  add_gemma_fields(fields, fields.integer("attention.sliding_window"), 6, 62, config);
  config["rope_local_base_freq"] = fields.number_or("rope.freq_base_swa", 10000);
  if (fields.has("final_logit_softcapping")) {
    config["final_logit_softcapping"] = fields.number("final_logit_softcapping");
  }
}

const std::map<std::string_view, GgufArchitecture>& architectures() {
  static const std::map<std::string_view, GgufArchitecture> table = {
      {"gemma2",
       {.model_type = "gemma2",
        .class_name = "Gemma2ForCausalLM",
        .norms_have_one_added = true,
        .activation_field = "hidden_activation",
        .activation = "gelu_pytorch_tanh",
        .parts = kGemmaParts,
        .add_fields = add_gemma2_fields}},
      {"gemma3",
       {.model_type = "gemma3_text",
        .class_name = "Gemma3ForCausalLM",
        .norms_have_one_added = true,
        .activation_field = "hidden_activation",
        .activation = "gelu_pytorch_tanh",
        .parts = kGemmaParts,
        .add_fields = add_gemma3_fields}},
      {"llama",
       {.model_type = "llama",
        .class_name = "LlamaForCausalLM",
        .rotary_rows_interleaved = true,
        .add_fields = add_llama_fields}},
      {"phi2",
       {.model_type = "phi",
        .class_name = "PhiForCausalLM",
        .partial_rotary = true,
        .norm_epsilon = "layer_norm_eps",
        .activation = "gelu_new",
        .parts = kPhi2Parts}},
      {"phi3",
       {.model_type = "phi3",
        .class_name = "Phi3ForCausalLM",
        .partial_rotary = true,
        .separate_query_key_value = false,
        .parts = {{"ffn_up", "mlp.gate_up_proj"}},
        .add_fields = add_phi3_fields}},
      {"qwen2", {.model_type = "qwen2", .class_name = "Qwen2ForCausalLM", .add_fields = add_qwen_fields}},
      {"qwen3", {.model_type = "qwen3", .class_name = "Qwen3ForCausalLM", .add_fields = add_qwen_fields}},
      {"smollm3",
       {.model_type = "smollm3",
        .class_name = "SmolLM3ForCausalLM",
        .rotary_rows_interleaved = true,
        .add_fields = add_smollm3_fields}},
  };
  return table;
}

std::string show(const GgufValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return '"' + *text + '"';
  if (const auto* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", static_cast<float>(*number));
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return "a list";
}

}  // namespace

GgufFields::GgufFields(const GgufFile& gguf) : gguf_(gguf), architecture_(gguf.string("general.architecture")) {}

bool GgufFields::has(const std::string& field) const {
  asked_for_.insert(key(field));
  return gguf_.metadata.contains(key(field));
}

int64_t GgufFields::integer(const std::string& field) const {
  has(field);
  return gguf_.integer(key(field));
}

int64_t GgufFields::integer_or(const std::string& field, int64_t otherwise) const {
  return has(field) ? integer(field) : otherwise;
}

const std::vector<int64_t>* GgufFields::integers(const std::string& field) const {
  return has(field) ? std::get_if<std::vector<int64_t>>(&gguf_.metadata.at(key(field))) : nullptr;
}

std::string GgufFields::string_or(const std::string& field, const std::string& otherwise) const {
  has(field);
  return gguf_.string_or(key(field), otherwise);
}

json GgufFields::number(const std::string& field) const {
  has(field);
  const double stored = gguf_.number(key(field));
  if (!std::isfinite(static_cast<float>(stored))) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a finite number", origin(), key(field), stored);
  }
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), static_cast<float>(stored));
  double value = stored;
  // std::from_chars takes no floating-point numbers in the libc++ of macOS before 26.
  if (error == std::errc()) value = nlohmann::json::parse(text.data(), end).get<double>();
  if (value == std::trunc(value) && std::abs(value) < 0x1p53) return static_cast<int64_t>(value);
  return value;
}

json GgufFields::number_or(const std::string& field, double otherwise) const {
  if (has(field)) return number(field);
  if (otherwise == std::trunc(otherwise)) return static_cast<int64_t>(otherwise);
  return otherwise;
}

void GgufFields::refuse(const std::string& field, const std::string& expected) const {
  fail(ErrorKind::kUnsupported, "{}: {} is {}, which is not supported; expected {}", origin(), key(field),
       show(gguf_.metadata.at(key(field))), expected);
}

void GgufFields::refuse_what_was_not_asked_for() const {
  for (const auto& [name, value] : gguf_.metadata) {
    if (!name.starts_with(architecture_ + ".") || asked_for_.contains(name)) continue;
    fail(ErrorKind::kUnsupported, "{}: {} is {}, which is not supported; expected no such field", origin(), name,
         show(value));
  }
}

std::string GgufArchitecture::translate(const std::string& name) const {
  std::string layer;
  std::string_view rest = name;
  if (name.starts_with("blk.")) {
    const size_t layer_end = name.find('.', 4);
    if (layer_end == std::string::npos) return name;
    layer = "model.layers." + name.substr(4, layer_end - 4) + ".";
    rest = std::string_view(name).substr(layer_end + 1);
  }
  const size_t part_end = rest.find('.');
  if (part_end == std::string_view::npos) return name;
  const std::string_view part = rest.substr(0, part_end);
  for (const Parts* names : {&parts, &usual_parts()}) {
    if (const auto found = names->find(part); found != names->end()) {
      return layer + std::string(found->second) + std::string(rest.substr(part_end));
    }
  }
  return name;
}

std::string GgufArchitecture::translate_back(const std::string& name) const {
  const size_t last_dot = name.rfind('.');
  const std::string suffix = name.substr(std::min(last_dot, name.size()));
  std::string_view rest = std::string_view(name).substr(0, name.size() - suffix.size());
  std::string layer;
  constexpr std::string_view kLayers = "model.layers.";
  if (rest.starts_with(kLayers)) {
    const size_t end = std::min(rest.find('.', kLayers.size()), rest.size() - 1);
    layer = fmt::format("blk.{}.", rest.substr(kLayers.size(), end - kLayers.size()));
    rest = rest.substr(end + 1);
  }
  for (const Parts* names : {&parts, &usual_parts()}) {
    for (const auto& [theirs, ours] : *names) {
      if (ours == rest) return layer + std::string(theirs) + suffix;
    }
  }
  fail(ErrorKind::kUnsupported, "tensor {}: GGUF files of {} models have no such tensor", name, model_type);
}

std::pair<std::string, const GgufArchitecture&> architecture_of(const std::string& model_type,
                                                                const std::string& origin) {
  const std::string_view wanted = model_type == "mistral" ? "llama" : std::string_view(model_type);
  for (const auto& [name, architecture] : architectures()) {
    if (architecture.model_type == wanted) return {std::string(name), architecture};
  }
  fail(ErrorKind::kUnsupported, "{}: model_type is \"{}\", for which GGUF has no architecture that Salient knows",
       origin, model_type);
}

const GgufArchitecture& find_architecture(const GgufFields& fields) {
  const auto found = architectures().find(fields.architecture());
  if (found != architectures().end()) return found->second;
  std::vector<std::string_view> known;
  for (const auto& [name, unused] : architectures()) known.push_back(name);
  fail(ErrorKind::kUnsupported, "{}: general.architecture is \"{}\", which is not supported; expected one of {}",
       fields.origin(), fields.architecture(), fmt::join(known, ", "));
}

}  // namespace salient::checkpoint
