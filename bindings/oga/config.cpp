// The configuration and the model.
#include <algorithm>
#include <array>
#include <fstream>

#include "oga/result.h"

namespace salient::oga {

namespace {

using nlohmann::json;

constexpr const char* kFile = "genai_config.json";

/// Other names than "cpu" stand for devices that this library does not have; which are known there.
constexpr std::array kProviders = {"cpu",      "cuda",          "dml",     "rocm",     "qnn",     "webgpu",
                                   "OpenVINO", "NvTensorRtRtx", "VitisAI", "openvino", "tensorrt"};

/// The document of a folder that has one; an empty object for a model of another kind.
json read_document(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kFile;
  if (!std::filesystem::exists(path)) {
    if (std::filesystem::exists(folder)) return json::object();
    throw Error(ErrorKind::kNotFound, path.string() + " cannot be opened: there is no such folder");
  }
  std::ifstream file(path, std::ios::binary);
  json document = json::parse(file, nullptr, false);
  if (!document.is_object()) fail(path.string() + " is not a JSON object");
  return document;
}

std::unique_ptr<OgaConfig> open_config(const char* path) {
  auto config = std::make_unique<OgaConfig>();
  config->folder = &require(path, "config_path");
  config->document = read_document(config->folder);
  return config;
}

int threads_of(const json& document) {
  const json threads =
      document.value(json::json_pointer("/model/decoder/session_options/intra_op_num_threads"), json());
  return threads.is_number_integer() && threads > 0 ? threads.get<int>() : 0;
}

std::unique_ptr<OgaModel> open_model(const OgaConfig& config) {
  for (const std::string& provider : config.providers) {
    if (provider == "cpu" || provider == "CPU") continue;
    throw Error(ErrorKind::kUnsupported, "the provider " + provider + " was asked for; this library runs on the CPU");
  }
  return std::make_unique<OgaModel>(config, Model(config.folder, {.threads = threads_of(config.document)}));
}

}  // namespace

std::optional<int64_t> model_number(const json& document, const char* name) {
  if (!document.contains("model") || !document["model"].is_object()) return std::nullopt;
  const json value = document["model"].value(name, json());
  if (!value.is_number_integer()) return std::nullopt;
  return value.get<int64_t>();
}

int64_t context_length(const OgaModel& model) {
  const int64_t most = model.model.context_length();
  return std::min(most, model_number(model.config.document, "context_length").value_or(most));
}

std::vector<int32_t> end_tokens(const json& document) {
  if (!document.contains("model") || !document["model"].is_object()) return {};
  const json value = document["model"].value("eos_token_id", json());
  std::vector<int32_t> tokens;
  for (const json& token : value.is_array() ? value : json::array({value})) {
    if (token.is_number_integer()) tokens.push_back(token.get<int32_t>());
  }
  return tokens;
}

}  // namespace salient::oga

using salient::oga::fail;
using salient::oga::guard;
using salient::oga::require;

OGA_EXPORT OgaResult* OgaCreateConfig(const char* path, OgaConfig** out) {
  return guard([&] { require(out, "out") = salient::oga::open_config(path).release(); });
}
OGA_EXPORT void OgaDestroyConfig(OgaConfig* config) {
  OgaConfig::destroy(config);
}
OGA_EXPORT OgaResult* OgaConfigClearProviders(OgaConfig* config) {
  return guard([&] { require(config, "config").providers.clear(); });
}
OGA_EXPORT OgaResult* OgaConfigAppendProvider(OgaConfig* config, const char* provider) {
  return guard([&] {
    const std::string name = &require(provider, "provider");
    if (std::find(salient::oga::kProviders.begin(), salient::oga::kProviders.end(), name) ==
        salient::oga::kProviders.end()) {
      fail("there is no provider \"" + name + "\"");
    }
    require(config, "config").providers.push_back(name);
  });
}
/// What other providers are told means nothing to this one.
OGA_EXPORT OgaResult* OgaConfigSetProviderOption(OgaConfig* config, const char* provider, const char* key,
                                                 const char* value) {
  return guard([&] {
    require(config, "config");
    require(provider, "provider");
    require(key, "key");
    require(value, "value");
  });
}
OGA_EXPORT OgaResult* OgaConfigOverlay(OgaConfig* config, const char* json) {
  return guard([&] {
    const auto overlay = nlohmann::json::parse(std::string(&require(json, "json")), nullptr, false);
    if (!overlay.is_object()) fail("the overlay is not a JSON object");
    require(config, "config").document.merge_patch(overlay);
  });
}

OGA_EXPORT OgaResult* OgaCreateModel(const char* path, OgaModel** out) {
  return guard([&] {
    require(out, "out");
    *out = salient::oga::open_model(*salient::oga::open_config(path)).release();
  });
}
OGA_EXPORT OgaResult* OgaCreateModelFromConfig(const OgaConfig* config, OgaModel** out) {
  return guard([&] {
    require(out, "out");
    *out = salient::oga::open_model(require(config, "config")).release();
  });
}
OGA_EXPORT void OgaDestroyModel(OgaModel* model) {
  OgaModel::destroy(model);
}
OGA_EXPORT OgaResult* OgaModelGetType(const OgaModel* model, const char** out) {
  return guard([&] {
    require(out, "out");
    const OgaModel& from = require(model, "model");
    const nlohmann::json type =
        from.config.document.value(nlohmann::json::json_pointer("/model/type"), nlohmann::json());
    *out = salient::oga::copy_text(type.is_string() ? type.get<std::string>() : from.model.family());
  });
}
OGA_EXPORT OgaResult* OgaModelGetDeviceType(const OgaModel* model, const char** out) {
  return guard([&] {
    require(model, "model");
    require(out, "out") = salient::oga::copy_text("CPU");
  });
}
