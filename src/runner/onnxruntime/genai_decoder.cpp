#include "runner/onnxruntime/genai_decoder.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace salient::runner::ort {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

constexpr const char* kSession = "model.decoder.session_options";

/// The object at a pointer such as "/model/decoder"; an empty one where there is none.
json object_at(const json& config, const char* pointer, const std::string& origin) {
  const json::json_pointer place(pointer);
  if (!config.contains(place) || config[place].is_null()) return json::object();
  if (!config[place].is_object()) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected an object", origin, pointer, config[place].dump());
  }
  return config[place];
}

std::string text_of(const json& value, const std::string& field, const std::string& origin) {
  if (!value.is_string()) {
    fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a string", origin, field, value.dump());
  }
  return value.get<std::string>();
}

/// The name that a field has, or its usual one.
std::string name_in(const json& names, const char* field, const char* usual, const std::string& origin) {
  return names.contains(field) ? text_of(names[field], field, origin) : usual;
}

/// "CUDAExecutionProvider" and "cuda" are the same provider.
std::string plain_provider(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  constexpr std::string_view kSuffix = "executionprovider";
  if (name.ends_with(kSuffix)) name.resize(name.size() - kSuffix.size());
  return name;
}

std::map<std::string, std::string> read_provider_options(const json& listed, const std::string& registered,
                                                         const std::string& origin) {
  const std::string field = std::string(kSession) + ".provider_options";
  std::map<std::string, std::string> options;
  if (!listed.is_array()) fail(ErrorKind::kInvalidInput, "{}: {} is {}, expected a list", origin, field, listed.dump());
  for (const json& entry : listed) {
    if (!entry.is_object()) {
      fail(ErrorKind::kInvalidInput, "{}: {} has {}, expected an object", origin, field, entry.dump());
    }
    for (const auto& [name, given] : entry.items()) {
      if (plain_provider(name) != plain_provider(registered)) continue;
      if (!given.is_object()) {
        fail(ErrorKind::kInvalidInput, "{}: {}.{} is {}, expected an object", origin, field, name, given.dump());
      }
      for (const auto& [key, value] : given.items())
        options[key] = text_of(value, field + "." + name + "." + key, origin);
    }
  }
  return options;
}

void read_session_options(const json& session, GenaiDecoder& decoder, const std::string& origin) {
  constexpr const char* kNotTaken[] = {"log_id", "enable_profiling", "provider_options"};
  for (const auto& [key, value] : session.items()) {
    if (std::find(std::begin(kNotTaken), std::end(kNotTaken), key) != std::end(kNotTaken)) continue;
    if (key == "custom_ops_library") {
      fail(ErrorKind::kUnsupported, "{}: {}.{} is {}: operators of other libraries are not loaded", origin, kSession,
           key, value.dump());
    }
    if (key == "graph_optimization_level") {
      decoder.optimization_level = text_of(value, key, origin);
    } else if (value.is_string()) {
      decoder.session_entries[key] = value.get<std::string>();
    }
  }
}

}  // namespace

GenaiDecoder read_genai_decoder(const json& config, const std::string& registered, const std::string& origin) {
  GenaiDecoder decoder;
  const json inputs = object_at(config, "/model/decoder/inputs", origin);
  decoder.input_ids = name_in(inputs, "input_ids", "input_ids", origin);
  decoder.attention_mask = name_in(inputs, "attention_mask", "attention_mask", origin);
  decoder.position_ids = name_in(inputs, "position_ids", "position_ids", origin);
  decoder.past_keys = name_in(inputs, "past_key_names", "past_key_values.%d.key", origin);
  decoder.past_values = name_in(inputs, "past_value_names", "past_key_values.%d.value", origin);
  const json outputs = object_at(config, "/model/decoder/outputs", origin);
  decoder.logits = name_in(outputs, "logits", "logits", origin);
  decoder.present_keys = name_in(outputs, "present_key_names", "present.%d.key", origin);
  decoder.present_values = name_in(outputs, "present_value_names", "present.%d.value", origin);
  const json search = object_at(config, "/search", origin);
  decoder.shares_buffers = search.value("past_present_share_buffer", json()) == true;
  const json session = object_at(config, "/model/decoder/session_options", origin);
  read_session_options(session, decoder, origin);
  decoder.provider_options =
      read_provider_options(session.value("provider_options", json::array()), registered, origin);
  return decoder;
}

std::string layer_name(const std::string& pattern, int64_t layer) {
  const size_t place = pattern.find("%d");
  if (place == std::string::npos) return pattern;
  return pattern.substr(0, place) + std::to_string(layer) + pattern.substr(place + 2);
}

}  // namespace salient::runner::ort
