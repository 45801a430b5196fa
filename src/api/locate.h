#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <salient/salient.hpp>
#include <string>

#include "hub/cache.h"
#include "hub/settings.h"
#include "model/decoder.h"

namespace salient::api {

/// The model on the hub that a text names: a short name of the registry (what was chosen for it is said), or
/// OWNER/NAME[@revision][/SUB/FOLDER]. Nothing when it is neither.
std::optional<hub::ModelName> find_model_name(const std::string& text, const PullOptions& options,
                                              const Monitor& monitor);

/// Brings a model into the cache, saying what that takes.
hub::CachedModel download(const hub::ModelName& name, const std::string& device, const hub::Settings& settings,
                          const Monitor& monitor);

/// Where the model is that a person named: at this path if there is one, else in the cache of the hub, into which it is
/// downloaded first when it is not there.
std::filesystem::path locate_model(const ModelName& name, const Monitor& monitor);

/// Opens the model at a path, or of a name.
std::shared_ptr<const model::Decoder> open_decoder(const ModelName& name, const Monitor& monitor);

}  // namespace salient::api
