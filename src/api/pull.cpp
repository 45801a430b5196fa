#include <algorithm>

#include "api/choice.h"
#include "api/locate.h"
#include "core/error.h"
#include "hub/cache.h"
#include "hub/registry.h"

namespace salient {

namespace {

CachedModel describe(const hub::CachedModel& model) {
  return {hub::to_string(model.name),
          model.name.repository,
          model.name.revision,
          model.commit,
          model.name.path,
          model.path,
          model.format,
          model.license,
          model.bytes};
}

std::string list_known_models() {
  std::string names;
  for (const std::string& name : known_models()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

}  // namespace

CachedModel v1::pull_model(const std::string& name, const PullOptions& options, const Monitor& monitor) {
  api::check_choice("device", options.device, {"cpu", "dml"});
  const auto on_hub = api::find_model_name(name, options, monitor);
  if (!on_hub) {
    core::fail(core::ErrorKind::kInvalidInput,
               "{}: is no model's name, expected OWNER/NAME[@revision][/SUB/FOLDER] or a short name: {}", name,
               list_known_models());
  }
  const hub::Settings settings = hub::read_settings();
  const auto cached = settings.offline ? hub::find_in_cache(*on_hub, options.device, settings.cache) : std::nullopt;
  return describe(cached ? *cached : api::download(*on_hub, options.device, settings, monitor));
}

std::vector<CachedModel> v1::cached_models() {
  std::vector<CachedModel> models;
  for (const hub::CachedModel& model : hub::list_cache(cache_folder())) models.push_back(describe(model));
  return models;
}

std::filesystem::path v1::cache_folder() {
  return hub::read_settings().cache;
}

std::vector<std::string> v1::known_models() {
  std::vector<std::string> names;
  for (const hub::KnownModel& known : hub::registry().models) names.push_back(known.name);
  return names;
}

}  // namespace salient
