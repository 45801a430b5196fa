#include "model/decoder_spec.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"

namespace salient::model {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// Typed access to the fields of config.json, with errors that name file and field.
class ConfigReader {
 public:
  ConfigReader(const json& config, const std::string& origin) : config_(config), origin_(origin) {}

  bool has(const char* field) const { return config_.contains(field) && !config_[field].is_null(); }

  int64_t size(const char* field) const {
    constexpr int64_t kLargest = int64_t{1} << 31;
    const json& value = required(field);
    if (!value.is_number_integer() || value < 1 || value > kLargest) {
      fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a whole number from 1 to {}", origin_, field, value.dump(),
           kLargest);
    }
    return value.get<int64_t>();
  }
  int64_t size_or(const char* field, int64_t otherwise) const { return has(field) ? size(field) : otherwise; }

  double positive(const char* field) const {
    const json& value = required(field);
    if (!value.is_number() || !(value.get<double>() > 0)) {
      fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a number above 0", origin_, field, value.dump());
    }
    return value.get<double>();
  }
  double positive_or(const char* field, double otherwise) const { return has(field) ? positive(field) : otherwise; }

  bool flag_or(const char* field, bool otherwise) const {
    if (!has(field)) return otherwise;
    if (!config_[field].is_boolean()) {
      fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected true or false", origin_, field, config_[field].dump());
    }
    return config_[field].get<bool>();
  }

  /// Refuses any value but those listed; an absent or null field passes.
  void allow_only(const char* field, std::initializer_list<json> values) const {
    if (!has(field)) return;
    if (std::find(values.begin(), values.end(), config_[field]) != values.end()) return;
    std::string known;
    for (const json& value : values) known += (known.empty() ? "" : " or ") + value.dump();
    fail(ErrorKind::kUnsupported, "{}: {} is {}, which is not supported; expected {}", origin_, field,
         config_[field].dump(), known.empty() ? "none" : known);
  }

  const std::string& origin() const { return origin_; }

 private:
  const json& required(const char* field) const {
    if (!has(field)) fail(ErrorKind::kInvalidInput, "{}: {} is missing", origin_, field);
    return config_[field];
  }

  const json& config_;
  const std::string& origin_;
};

constexpr std::array<std::string_view, 2> kFamilies = {"llama", "mistral"};

std::string read_family(const json& config, const std::string& origin) {
  const json family = config.is_object() ? config.value("model_type", json()) : json();
  const std::string name = family.is_string() ? family.get<std::string>() : "";
  if (std::find(kFamilies.begin(), kFamilies.end(), name) == kFamilies.end()) {
    fail(ErrorKind::kUnsupported, "{}: model_type is {}, which is not supported; expected one of {}", origin,
         family.dump(), fmt::join(kFamilies, ", "));
  }
  return name;
}

/// Newer transformers write rope_parameters {rope_type, rope_theta}; older rope_theta and rope_scaling side by side.
double read_rope_theta(const json& config, const ConfigReader& reader) {
  reader.allow_only("rope_scaling", {});
  const double theta = reader.positive_or("rope_theta", 10000.0);
  if (!reader.has("rope_parameters")) return theta;
  const json& parameters = config["rope_parameters"];
  if (!parameters.is_object()) {
    fail(ErrorKind::kInvalidInput, "{}: rope_parameters is {}, expected an object", reader.origin(), parameters.dump());
  }
  const std::string origin = reader.origin() + ": rope_parameters";
  const ConfigReader rope(parameters, origin);
  rope.allow_only("rope_type", {"default"});
  rope.allow_only("partial_rotary_factor", {1.0});
  for (const auto& [field, value] : parameters.items()) {
    if (field == "rope_type" || field == "rope_theta" || field == "partial_rotary_factor") continue;
    rope.allow_only(field.c_str(), {});
  }
  return rope.positive_or("rope_theta", theta);
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

void check_heads(const DecoderSpec& spec, const std::string& origin) {
  if (spec.heads % spec.kv_heads != 0) {
    fail(ErrorKind::kInvalidInput, "{}: num_attention_heads is {}, expected a multiple of num_key_value_heads, {}",
         origin, spec.heads, spec.kv_heads);
  }
  if (spec.head_dim % 16 != 0 || spec.head_dim > 256) {
    fail(ErrorKind::kUnsupported, "{}: head_dim is {}, expected a multiple of 16 up to 256", origin, spec.head_dim);
  }
}

}  // namespace

DecoderSpec read_decoder_spec(const json& config, const json& generation_config, const std::string& origin) {
  DecoderSpec spec;
  spec.family = read_family(config, origin);
  const ConfigReader reader(config, origin);
  reader.allow_only("hidden_act", {"silu"});
  reader.allow_only("sliding_window", {});
  reader.allow_only("partial_rotary_factor", {1.0});
  reader.allow_only("pretraining_tp", {1});

  spec.vocab_size = reader.size("vocab_size");
  spec.hidden_size = reader.size("hidden_size");
  spec.intermediate_size = reader.size("intermediate_size");
  spec.layers = reader.size("num_hidden_layers");
  spec.heads = reader.size("num_attention_heads");
  spec.kv_heads = reader.size_or("num_key_value_heads", spec.heads);
  if (!reader.has("head_dim") && spec.hidden_size % spec.heads != 0) {
    fail(ErrorKind::kInvalidInput, "{}: hidden_size is {}, expected a multiple of num_attention_heads, {}", origin,
         spec.hidden_size, spec.heads);
  }
  spec.head_dim = reader.size_or("head_dim", spec.hidden_size / spec.heads);
  check_heads(spec, origin);
  spec.max_positions = reader.size("max_position_embeddings");
  spec.norm_epsilon = static_cast<float>(reader.positive("rms_norm_eps"));
  spec.rope_theta = read_rope_theta(config, reader);
  spec.tied_embeddings = reader.flag_or("tie_word_embeddings", false);
  spec.end_of_sequence = read_end_of_sequence(config, generation_config, origin);
  return spec;
}

}  // namespace salient::model
