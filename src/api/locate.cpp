#include "api/locate.h"

#include "api/monitor.h"
#include "core/error.h"
#include "core/progress.h"
#include "hub/pull.h"
#include "hub/registry.h"

namespace salient::api {

namespace {

namespace fs = std::filesystem;

/// The variant that a short name stands for.
std::string choose(const hub::KnownModel& known, const PullOptions& options, const Monitor& monitor) {
  if (options.base || known.quantized.empty()) {
    say(monitor, "{}: {}{}", known.name, known.base,
        options.base ? "" : ", the base: nobody known here offers it quantized");
    return known.base;
  }
  const auto found = known.quantized.find(options.device);
  if (found == known.quantized.end()) {
    core::fail(core::ErrorKind::kNotFound, "{}: there is no variant for the device {}", known.name, options.device);
  }
  say(monitor, "{}: {}, quantized, for {}; --base pulls {}", known.name, found->second, options.device, known.base);
  return found->second;
}

}  // namespace

std::optional<hub::ModelName> find_model_name(const std::string& text, const PullOptions& options,
                                              const Monitor& monitor) {
  if (const hub::KnownModel* known = hub::find_known_model(text)) {
    return hub::parse_model_name(choose(*known, options, monitor));
  }
  return hub::parse_model_name(text);
}

hub::CachedModel download(const hub::ModelName& name, const std::string& device, const hub::Settings& settings,
                          const Monitor& monitor) {
  const hub::PullPlan plan = hub::plan_pull(name, device, settings, monitor.stop);
  const hub::Repository& repository = plan.repository;
  if (plan.selection.path != name.path) {
    say(monitor, "{}: the model in it is {}", hub::to_string(name), plan.selection.path);
  }
  const std::string license = repository.license.empty() ? "not named" : repository.license;
  if (plan.missing_bytes == 0) {
    say(monitor, "{}: all {} files are in {}; licence {}", hub::to_string(name), plan.selection.files.size(),
        settings.cache.string(), license);
  } else {
    say(monitor, "{}: downloading {} of {} in {} files from {} to {}; licence {}", hub::to_string(name),
        core::format_bytes(plan.missing_bytes), core::format_bytes(plan.bytes), plan.selection.files.size(),
        settings.endpoint, settings.cache.string(), license);
  }
  const auto progress = plan.missing_bytes == 0 ? core::ProgressCallback() : monitor.on_progress;
  hub::CachedModel model = hub::pull(plan, settings, progress, monitor.stop);
  if (model.license.empty()) model.license = repository.license;
  return model;
}

fs::path locate_model(const ModelName& name, const Monitor& monitor) {
  if (std::error_code error; fs::exists(name, error)) return name;
  const PullOptions options;
  const auto on_hub = find_model_name(name.generic_string(), options, monitor);
  if (!on_hub) return name;  // whoever opens it says that it does not exist
  const hub::Settings settings = hub::read_settings();
  if (const auto cached = hub::find_in_cache(*on_hub, options.device, settings.cache)) return cached->path;
  say(monitor, "{}: is neither a file here nor in the cache {}: asking {}", name.string(), settings.cache.string(),
      settings.endpoint);
  return download(*on_hub, options.device, settings, monitor).path;
}

std::shared_ptr<const model::Decoder> open_decoder(const ModelName& name, const Monitor& monitor) {
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(locate_model(name, monitor)));
  return std::make_shared<model::Decoder>(std::move(checkpoint));
}

}  // namespace salient::api
