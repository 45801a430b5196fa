#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/model.h"
#include "cli/pull.h"
#include "hub/cache.h"
#include "hub/settings.h"

namespace salient::cli {

namespace {

void print_table(const std::vector<hub::CachedModel>& models, const hub::Settings& settings) {
  if (models.empty()) {
    fmt::print("{} holds no models; salient pull NAME brings one\n", settings.cache.string());
    return;
  }
  size_t width = 5;
  for (const hub::CachedModel& model : models) width = std::max(width, hub::to_string(model.name).size());
  fmt::print("{:<{}}  {:>10}  {:<18}  {}\n", "model", width, "size", "format", "licence");
  for (const hub::CachedModel& model : models) {
    fmt::print("{:<{}}  {:>10}  {:<18}  {}\n", hub::to_string(model.name), width, core::format_bytes(model.bytes),
               model.format, model.license);
  }
}

}  // namespace

void add_models(CLI::App& program) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = program.add_subcommand("models", "List the models in the cache that Hugging Face tools share");
  add_flag(*command, "--json", *json, "Print JSON");
  command->callback([json] {
    const hub::Settings settings = hub::read_settings();
    const std::vector<hub::CachedModel> models = hub::list_cache(settings.cache);
    if (!*json) return print_table(models, settings);
    nlohmann::json list = nlohmann::json::array();
    for (const hub::CachedModel& model : models) list.push_back(describe(model));
    print_json(list);
  });
}

}  // namespace salient::cli
