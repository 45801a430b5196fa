#include "cli/pull.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "core/error.h"
#include "hub/pull.h"
#include "hub/registry.h"
#include "hub/settings.h"

namespace salient::cli {

namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string name;
  Variant variant;
  bool json = false;
};

/// The variant that a short name stands for.
std::string choose(const hub::KnownModel& known, const Variant& variant) {
  if (variant.base || known.quantized.empty()) {
    fmt::print(stderr, "{}: {}{}\n", known.name, known.base,
               variant.base ? "" : ", the base: nobody known here offers it quantized");
    return known.base;
  }
  const auto found = known.quantized.find(variant.device);
  if (found == known.quantized.end()) {
    core::fail(core::ErrorKind::kNotFound, "{}: there is no variant for the device {}", known.name, variant.device);
  }
  fmt::print(stderr, "{}: {}, quantized, for {}; --base pulls {}\n", known.name, found->second, variant.device,
             known.base);
  return found->second;
}

/// Brings a model into the cache, saying what that takes.
hub::CachedModel download(const hub::ModelName& name, const std::string& device, const hub::Settings& settings,
                          const std::stop_token& stop) {
  const hub::PullPlan plan = hub::plan_pull(name, device, settings, stop);
  const hub::Repository& repository = plan.repository;
  if (plan.selection.path != name.path) {
    fmt::print(stderr, "{}: the model in it is {}\n", hub::to_string(name), plan.selection.path);
  }
  const std::string license = repository.license.empty() ? "not named" : repository.license;
  if (plan.missing_bytes == 0) {
    fmt::print(stderr, "{}: all {} files are in {}; licence {}\n", hub::to_string(name), plan.selection.files.size(),
               settings.cache.string(), license);
  } else {
    fmt::print(stderr, "{}: downloading {} of {} in {} files from {} to {}; licence {}\n", hub::to_string(name),
               core::format_bytes(plan.missing_bytes), core::format_bytes(plan.bytes), plan.selection.files.size(),
               settings.endpoint, settings.cache.string(), license);
  }
  const auto progress = plan.missing_bytes == 0 ? core::ProgressCallback() : show_progress();
  hub::CachedModel model = hub::pull(plan, settings, progress, stop);
  if (model.license.empty()) model.license = repository.license;
  return model;
}

void run(const Flags& flags) {
  const Interrupt interrupt;
  const auto name = find_model_name(flags.name, flags.variant);
  if (!name) {
    core::fail(core::ErrorKind::kInvalidInput,
               "{}: is no model's name, expected OWNER/NAME[@revision][/SUB/FOLDER] or a short name: {}", flags.name,
               known_names());
  }
  const hub::Settings settings = hub::read_settings();
  const auto cached = settings.offline ? hub::find_in_cache(*name, flags.variant.device, settings.cache) : std::nullopt;
  const hub::CachedModel model = cached ? *cached : download(*name, flags.variant.device, settings, interrupt.token());
  if (flags.json) return print_json(describe(model));
  fmt::print("{}\n", model.path.string());
}

}  // namespace

std::string known_names() {
  std::string names;
  for (const hub::KnownModel& known : hub::registry().models) names += (names.empty() ? "" : ", ") + known.name;
  return names;
}

nlohmann::json describe(const hub::CachedModel& model) {
  return {{"name", hub::to_string(model.name)},
          {"repository", model.name.repository},
          {"revision", model.name.revision},
          {"commit", model.commit},
          {"folder", model.name.path},
          {"path", model.path.string()},
          {"format", model.format},
          {"license", model.license},
          {"bytes", model.bytes}};
}

std::optional<hub::ModelName> find_model_name(const std::string& text, const Variant& variant) {
  if (const hub::KnownModel* known = hub::find_known_model(text)) {
    return hub::parse_model_name(choose(*known, variant));
  }
  return hub::parse_model_name(text);
}

fs::path locate_model(const fs::path& model, const std::stop_token& stop) {
  if (std::error_code error; fs::exists(model, error)) return model;
  const Variant variant;
  const auto name = find_model_name(model.generic_string(), variant);
  if (!name) return model;  // whoever opens it says that it does not exist
  const hub::Settings settings = hub::read_settings();
  if (const auto cached = hub::find_in_cache(*name, variant.device, settings.cache)) return cached->path;
  fmt::print(stderr, "{}: is neither a file here nor in the cache {}: asking {}\n", model.string(),
             settings.cache.string(), settings.endpoint);
  return download(*name, variant.device, settings, stop).path;
}

void add_pull(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("pull", "Download a model into the cache that Hugging Face tools share");
  command->add_option("NAME", flags->name, "OWNER/NAME[@revision][/SUB/FOLDER], OWNER/NAME/FILE.gguf, or a short name")
      ->required();
  add_option(*command, "--device", flags->variant.device, "Of a short name's quantized variant: cpu or dml")
      ->check(CLI::IsMember({"cpu", "dml"}));
  add_flag(*command, "--base", flags->variant.base, "Of a short name: the model before quantization");
  add_flag(*command, "--json", flags->json, "Print JSON instead of the path");
  command->footer("Short names: " + known_names() +
                  ".\n"
                  "An interrupted pull goes on where it was. These variables are obeyed:\n"
                  "HF_TOKEN                the access token, for gated and private models\n"
                  "HF_HUB_CACHE, HF_HOME   where models are kept\n"
                  "HF_ENDPOINT             another hub\n"
                  "HF_HUB_OFFLINE=1        use only what is in the cache\n"
                  "SALIENT_STALL_TIMEOUT   seconds after which a silent server is asked again (30)");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
