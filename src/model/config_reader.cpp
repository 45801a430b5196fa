#include "model/config_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"

namespace salient::model {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// Fields that change the mathematics, with the values at which they do not.
struct NeutralValues {
  const char* field;
  std::vector<json> values;
};

const std::vector<NeutralValues>& mathematics() {
  static const std::vector<NeutralValues> fields = {
      {"attention_multiplier", {}},
      {"attn_logit_softcapping", {}},
      {"clip_qkv", {}},
      {"embedding_multiplier", {1, 1.0}},
      {"final_logit_softcapping", {}},
      {"layer_types", {}},
      {"logit_scale", {1, 1.0}},
      {"logits_scaling", {1, 1.0}},
      {"no_rope_layers", {}},
      {"num_experts", {0}},
      {"num_local_experts", {0}},
      {"partial_rotary_factor", {1, 1.0}},
      {"pretraining_tp", {1}},
      {"qk_layernorm", {false}},
      {"query_pre_attn_scalar", {}},
      {"residual_multiplier", {1, 1.0}},
      {"rope_local_base_freq", {}},
      {"rope_scaling", {}},
      {"rope_parameters", {}},
      {"sliding_window", {}},
      {"use_bidirectional_attention", {false}},
      {"use_qk_norm", {false}},
      {"use_sliding_window", {false}},
  };
  return fields;
}

}  // namespace

bool ConfigReader::has(const std::string& field) const {
  asked_for_.insert(field);
  return config_.contains(field) && !config_[field].is_null();
}

json ConfigReader::value(const std::string& field) const {
  return has(field) ? config_[field] : json();
}

const json& ConfigReader::required(const std::string& field) const {
  if (!has(field)) fail(ErrorKind::kInvalidInput, "{}: {} is missing", origin_, field);
  return config_[field];
}

int64_t ConfigReader::size(const std::string& field) const {
  constexpr int64_t kLargest = int64_t{1} << 31;
  const json& found = required(field);
  if (!found.is_number_integer() || found < 1 || found > kLargest) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a whole number from 1 to {}", origin_, field, found.dump(),
         kLargest);
  }
  return found.get<int64_t>();
}

int64_t ConfigReader::size_or(const std::string& field, int64_t otherwise) const {
  return has(field) ? size(field) : otherwise;
}

double ConfigReader::positive(const std::string& field) const {
  const json& found = required(field);
  if (!found.is_number() || !(found.get<double>() > 0) || !std::isfinite(found.get<double>())) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a number above 0", origin_, field, found.dump());
  }
  return found.get<double>();
}

double ConfigReader::positive_or(const std::string& field, double otherwise) const {
  return has(field) ? positive(field) : otherwise;
}

bool ConfigReader::flag_or(const std::string& field, bool otherwise) const {
  if (!has(field)) return otherwise;
  if (!config_[field].is_boolean()) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected true or false", origin_, field, config_[field].dump());
  }
  return config_[field].get<bool>();
}

std::string ConfigReader::text_or(const std::string& field, const std::string& otherwise) const {
  if (!has(field)) return otherwise;
  if (!config_[field].is_string()) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a string", origin_, field, config_[field].dump());
  }
  return config_[field].get<std::string>();
}

std::vector<double> ConfigReader::numbers(const std::string& field, int64_t count) const {
  const json& found = required(field);
  const auto above_zero = [](const json& number) { return number.is_number() && number.get<double>() > 0; };
  if (!found.is_array() || std::ssize(found) != count || !std::all_of(found.begin(), found.end(), above_zero)) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a list of {} numbers above 0", origin_, field, found.dump(),
         count);
  }
  return found.get<std::vector<double>>();
}

void ConfigReader::refuse(const std::string& field, const std::string& expected) const {
  fail(ErrorKind::kUnsupported, "{}: {} is {}, which is not supported; expected {}", origin_, field,
       value(field).dump(), expected);
}

void ConfigReader::refuse_what_was_not_asked_for() const {
  for (const auto& [field, found] : config_.items()) {
    if (!asked_for_.contains(field) && !found.is_null()) refuse(field, "none");
  }
}

void ConfigReader::refuse_what_was_overlooked() const {
  for (const auto& [field, neutral] : mathematics()) {
    if (asked_for_.contains(field) || !has(field)) continue;
    if (std::find(neutral.begin(), neutral.end(), config_[field]) != neutral.end()) continue;
    refuse(field, neutral.empty() ? "none" : neutral.front().dump());
  }
}

}  // namespace salient::model
