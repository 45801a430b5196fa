#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "core/progress.h"

namespace salient::cli {

namespace {

using nlohmann::json;

void print_text(const json& description) {
  for (const auto& [field, value] : description.items()) {
    if (field == "tensors" || field == "bytes_by_dtype") continue;
    const std::string text = field == "bytes"    ? core::format_bytes(value.get<uint64_t>())
                             : value.is_string() ? value.get<std::string>()
                                                 : value.dump();
    fmt::print("{:<20}{}\n", field, text);
  }
  for (const auto& [dtype, bytes] : description["bytes_by_dtype"].items()) {
    fmt::print("{:<20}{}\n", "stored as " + dtype, core::format_bytes(bytes.get<uint64_t>()));
  }
  if (!description.contains("tensors")) return;
  fmt::print("\n{:<56}{:<8}{:<32}{:<6}{}\n", "tensor", "stored", "runs as", "bits", "shape");
  for (const json& tensor : description["tensors"]) {
    fmt::print("{:<56}{:<8}{:<32}{:<6}{}\n", tensor["name"].get<std::string>(), tensor["stored_as"].get<std::string>(),
               tensor["runs_as"].get<std::string>(), tensor["runs_at_bits"].get<int>(), tensor["shape"].dump());
  }
}

}  // namespace

void add_inspect(CLI::App& program) {
  struct Flags {
    ModelName model;
    bool tensors = false;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("inspect", "Say what a model is, without loading it");
  command->add_option("MODEL", flags->model, kModelHelp)->required();
  add_flag(*command, "--tensors", flags->tensors, "List every tensor: how it is stored and how it will be run");
  add_flag(*command, "--json", flags->json, "Print JSON");
  command->callback([flags] {
    const Interrupt interrupt;
    const json description = json::parse(inspect_model(flags->model, flags->tensors, show(interrupt.token())));
    if (flags->json) {
      print_json(description);
    } else {
      print_text(description);
    }
  });
}

}  // namespace salient::cli
