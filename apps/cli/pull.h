#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stop_token>
#include <string>

#include "hub/cache.h"

namespace salient::cli {

/// Which of a model's variants is meant.
struct Variant {
  std::string device = "cpu";  ///< for what a ready-quantized one was made: cpu or dml
  bool base = false;           ///< the model before quantization
};

/// The short names of the registry, for a person.
std::string known_names();

/// A model in the cache, as JSON shows it.
nlohmann::json describe(const hub::CachedModel& model);

/// The model on the hub that a text names: a short name of the registry (what was chosen for it is said on standard
/// error), or OWNER/NAME[@revision][/SUB/FOLDER]. Nothing when it is neither.
std::optional<hub::ModelName> find_model_name(const std::string& text, const Variant& variant);

/// Where the model is that a person named: at this path if there is one, else in the cache of the hub, into which it is
/// downloaded first when it is not there.
std::filesystem::path locate_model(const std::filesystem::path& model, const std::stop_token& stop);

}  // namespace salient::cli
