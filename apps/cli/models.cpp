#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/cached_model.h"
#include "cli/commands.h"
#include "cli/model.h"
#include "core/progress.h"

namespace salient::cli {

namespace {

void print_table(const std::vector<CachedModel>& models) {
  if (models.empty()) {
    fmt::print("{} holds no models; salient pull NAME brings one\n", cache_folder().string());
    return;
  }
  size_t width = 5;
  for (const CachedModel& model : models) width = std::max(width, model.name.size());
  fmt::print("{:<{}}  {:>10}  {:<18}  {}\n", "model", width, "size", "format", "licence");
  for (const CachedModel& model : models) {
    fmt::print("{:<{}}  {:>10}  {:<18}  {}\n", model.name, width, core::format_bytes(model.bytes), model.format,
               model.license);
  }
}

}  // namespace

void add_models(CLI::App& program) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = program.add_subcommand("models", "List the models in the cache that Hugging Face tools share");
  add_flag(*command, "--json", *json, "Print JSON");
  command->callback([json] {
    const std::vector<CachedModel> models = cached_models();
    if (!*json) return print_table(models);
    nlohmann::json list = nlohmann::json::array();
    for (const CachedModel& model : models) list.push_back(describe(model));
    print_json(list);
  });
}

}  // namespace salient::cli
