#include "model/decoder_spec.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>

#include "core/error.h"
#include "model/config_reader.h"
#include "model/rope.h"

namespace salient::model {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// Where the layers' window comes from.
enum class WindowRule {
  kNone,           ///< the family has none
  kAllLayers,      ///< sliding_window holds for every layer
  kIfSwitchedOn,   ///< it holds with use_sliding_window only, for the layers from max_window_layers on
  kEverySecond,    ///< it holds for layers 0, 2, 4 ...
  kAllButPattern,  ///< it holds for all but each sliding_window_pattern-th
};

/// What config.json does not say because transformers' code of the family does.
struct Family {
  WindowRule window = WindowRule::kNone;
  bool tied_by_default = false;
  const char* norm_epsilon = "rms_norm_eps";
  void (*adjust)(const ConfigReader& reader, DecoderSpec& spec) = nullptr;
};

void adjust_phi3(const ConfigReader&, DecoderSpec& spec) {
  spec.fused_query_key_value = true;
  spec.fused_gate_up = true;
}

void adjust_qwen3(const ConfigReader&, DecoderSpec& spec) {
  spec.qk_norm = true;
}

void adjust_phi(const ConfigReader&, DecoderSpec& spec) {
  spec.norm = NormKind::kLayer;
  spec.parallel_mlp = true;
  spec.gated_mlp = false;
  spec.names = {.output = "self_attn.dense", .up = "mlp.fc1", .down = "mlp.fc2", .final_norm = "model.final_layernorm"};
}

void adjust_gemma(const ConfigReader& reader, DecoderSpec& spec) {
  spec.norm = NormKind::kRmsPlusOne;
  spec.post_norms = true;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden_size));
  const double scalar = reader.positive_or("query_pre_attn_scalar", 256);
  spec.attention_scale = static_cast<float>(1 / std::sqrt(scalar));
  spec.attention_soft_cap =
      static_cast<float>(reader.has("attn_logit_softcapping") ? reader.positive("attn_logit_softcapping") : 0);
  spec.logit_soft_cap =
      static_cast<float>(reader.has("final_logit_softcapping") ? reader.positive("final_logit_softcapping") : 0);
}

void adjust_gemma3(const ConfigReader& reader, DecoderSpec& spec) {
  adjust_gemma(reader, spec);
  spec.qk_norm = true;
}

/// Layers of which no_rope_layers (1 turns, 0 does not) or each no_rope_layer_interval-th do not turn.
void adjust_smollm3(const ConfigReader& reader, DecoderSpec& spec) {
  if (!reader.has("no_rope_layers")) {
    const int64_t interval = reader.size_or("no_rope_layer_interval", 4);
    for (int64_t i = interval - 1; i < spec.layers; i += interval) spec.attention[i].rope = -1;
    return;
  }
  const json list = reader.value("no_rope_layers");
  if (!list.is_array() || std::ssize(list) != spec.layers) {
    reader.refuse("no_rope_layers", fmt::format("a list of {} numbers", spec.layers));
  }
  for (int64_t i = 0; i < spec.layers; ++i) {
    if (list[i] == 0) spec.attention[i].rope = -1;
  }
}

const std::map<std::string_view, Family>& families() {
  static const std::map<std::string_view, Family> table = {
      {"gemma2", {.window = WindowRule::kEverySecond, .tied_by_default = true, .adjust = adjust_gemma}},
      {"gemma3_text", {.window = WindowRule::kAllButPattern, .tied_by_default = true, .adjust = adjust_gemma3}},
      {"llama", {}},
      {"mistral", {.window = WindowRule::kAllLayers}},
      {"phi", {.norm_epsilon = "layer_norm_eps", .adjust = adjust_phi}},
      {"phi3", {.window = WindowRule::kAllLayers, .adjust = adjust_phi3}},
      {"qwen2", {.window = WindowRule::kIfSwitchedOn}},
      {"qwen3", {.window = WindowRule::kIfSwitchedOn, .adjust = adjust_qwen3}},
      {"smollm3", {.window = WindowRule::kIfSwitchedOn, .tied_by_default = true, .adjust = adjust_smollm3}},
  };
  return table;
}

const Family& find_family(const json& config, const std::string& origin) {
  const json name = config.is_object() ? config.value("model_type", json()) : json();
  const auto found = families().find(name.is_string() ? name.get_ref<const std::string&>() : "");
  if (found != families().end()) return found->second;
  std::vector<std::string_view> known;
  for (const auto& [family, unused] : families()) known.push_back(family);
  fail(ErrorKind::kUnsupported, "{}: model_type is {}, which is not supported; expected one of {}", origin, name.dump(),
       fmt::join(known, ", "));
}

void read_sizes(const ConfigReader& reader, DecoderSpec& spec) {
  spec.vocab_size = reader.size("vocab_size");
  spec.hidden_size = reader.size("hidden_size");
  spec.intermediate_size = reader.size("intermediate_size");
  spec.layers = reader.size("num_hidden_layers");
  spec.heads = reader.size("num_attention_heads");
  spec.kv_heads = reader.size_or("num_key_value_heads", spec.heads);
  spec.max_positions = reader.size("max_position_embeddings");
  if (!reader.has("head_dim") && spec.hidden_size % spec.heads != 0) {
    fail(ErrorKind::kInvalidInput, "{}: hidden_size is {}, expected a multiple of num_attention_heads, {}",
         reader.origin(), spec.hidden_size, spec.heads);
  }
  spec.head_dim = reader.size_or("head_dim", spec.hidden_size / spec.heads);
  if (spec.heads % spec.kv_heads != 0) {
    fail(ErrorKind::kInvalidInput, "{}: num_attention_heads is {}, expected a multiple of num_key_value_heads, {}",
         reader.origin(), spec.heads, spec.kv_heads);
  }
  if (spec.head_dim % 16 != 0 || spec.head_dim > 256) {
    fail(ErrorKind::kUnsupported, "{}: head_dim is {}, expected a multiple of 16 up to 256", reader.origin(),
         spec.head_dim);
  }
}

ActivationKind read_activation(const ConfigReader& reader) {
  const char* field = reader.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  const std::string name = reader.text_or(field, "silu");
  if (name == "silu") return ActivationKind::kSilu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return ActivationKind::kGelu;
  reader.refuse(field, "silu, gelu_new or gelu_pytorch_tanh");
}

/// Which layers look back only a window. layer_types, where it is there, says it outright.
void read_windows(const ConfigReader& reader, WindowRule rule, DecoderSpec& spec) {
  spec.attention.resize(static_cast<size_t>(spec.layers));
  if (rule == WindowRule::kNone) return;
  const bool switched_off = rule == WindowRule::kIfSwitchedOn && !reader.flag_or("use_sliding_window", false);
  const int64_t window = reader.size_or("sliding_window", 0);
  const int64_t from_layer = reader.size_or("max_window_layers", 28);
  const int64_t pattern = reader.size_or("sliding_window_pattern", reader.size_or("_sliding_window_pattern", 6));
  const json types = reader.value("layer_types");
  if (!types.is_null() && (!types.is_array() || std::ssize(types) != spec.layers)) {
    reader.refuse("layer_types", fmt::format("a list of {} names", spec.layers));
  }
  if (switched_off || window == 0) return;
  for (int64_t i = 0; i < spec.layers; ++i) {
    bool sliding = true;
    if (!types.is_null()) {
      sliding = types[i] == "sliding_attention";
      if (!sliding && types[i] != "full_attention") {
        reader.refuse("layer_types", "full_attention and sliding_attention");
      }
    } else if (rule == WindowRule::kIfSwitchedOn) {
      sliding = i >= from_layer;
    } else if (rule == WindowRule::kEverySecond) {
      sliding = i % 2 == 0;
    } else if (rule == WindowRule::kAllButPattern) {
      sliding = (i + 1) % pattern != 0;
    }
    if (sliding) spec.attention[i].window = window;
  }
}

/// The rotary embedding of all layers, or (Gemma 3) one for the layers that see everything and one for the others.
void read_ropes(const json& config, const ConfigReader& reader, DecoderSpec& spec) {
  RopeContext context;
  context.theta = reader.positive_or("rope_theta", context.theta);
  context.head_dim = spec.head_dim;
  context.rotary_factor = reader.positive_or("partial_rotary_factor", 1);
  context.max_positions = spec.max_positions;
  context.original_positions = reader.size_or("original_max_position_embeddings", 0);
  const char* field = reader.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const json parameters = reader.value(field);
  if (!parameters.is_null() && !parameters.is_object()) reader.refuse(field, "an object");
  const auto read = [&](const json& found, const RopeContext& wanted) {
    return found.is_object() ? read_rope(ConfigReader(found, reader.origin() + ": " + field), wanted)
                             : make_rope(wanted);
  };
  const bool by_layer_type = parameters.is_object() && parameters.contains("full_attention");
  spec.ropes = {read(by_layer_type ? parameters["full_attention"] : parameters, context)};
  if (!by_layer_type && !config.contains("rope_local_base_freq")) return;
  context.theta = reader.positive_or("rope_local_base_freq", context.theta);
  spec.ropes.push_back(read(by_layer_type ? parameters.value("sliding_attention", json()) : json(), context));
  for (LayerAttention& layer : spec.attention) layer.rope = layer.window > 0 ? 1 : 0;
}

std::vector<int32_t> read_end_of_sequence(const json& config, const json& generation_config,
                                          const std::string& origin) {
  for (const json* source : {&generation_config, &config}) {
    if (!source->contains("eos_token_id") || (*source)["eos_token_id"].is_null()) continue;
    const json& value = (*source)["eos_token_id"];
    std::vector<int32_t> ids;
    for (const json& id : value.is_array() ? value : json::array({value})) {
      if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
        fail(ErrorKind::kInvalidInput, "{}: eos_token_id is {}, expected a token id or a list of them", origin,
             value.dump());
      }
      ids.push_back(id.get<int32_t>());
    }
    return ids;
  }
  return {};
}

}  // namespace

int64_t DecoderSpec::original_positions() const {
  for (const Rope& rope : ropes) {
    if (rope.has_regimes()) return rope.original_positions;
  }
  return 0;
}

bool DecoderSpec::is_long(int64_t length) const {
  const int64_t original = original_positions();
  return original > 0 && length > original;
}

DecoderSpec read_decoder_spec(const json& config, const json& generation_config, const std::string& origin) {
  const Family& family = find_family(config, origin);
  const ConfigReader reader(config, origin);
  DecoderSpec spec;
  spec.family = config["model_type"];
  read_sizes(reader, spec);
  spec.norm_epsilon = static_cast<float>(reader.positive(family.norm_epsilon));
  spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  spec.activation = read_activation(reader);
  read_windows(reader, family.window, spec);
  read_ropes(config, reader, spec);
  if (family.adjust) family.adjust(reader, spec);
  spec.tied_embeddings = reader.flag_or("tie_word_embeddings", family.tied_by_default);
  spec.end_of_sequence = read_end_of_sequence(config, generation_config, origin);
  reader.refuse_what_was_overlooked();
  return spec;
}

}  // namespace salient::model
