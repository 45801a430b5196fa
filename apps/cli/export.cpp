#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "convert/packed_exporter.h"

namespace salient::cli {

namespace {

struct Flags {
  std::filesystem::path model;
  std::string format = "awq";
  std::filesystem::path output;
  bool json = false;
};

void run(const Flags& flags) {
  const Interrupt interrupt;
  const auto decoder = open_decoder(flags.model, interrupt.token());
  const convert::ExportReport report = convert::export_packed(
      decoder->checkpoint(), {packed_format(flags.format), flags.output, show_progress(), interrupt.token()});
  if (!flags.json) {
    fmt::print("{}: {}, int{} in groups of {}, {}, every weight as it was\n", flags.output.string(), flags.format,
               report.bits, report.group_size, core::format_bytes(report.bytes));
    return;
  }
  print_json({{"output", flags.output.string()},
              {"format", flags.format},
              {"bits", report.bits},
              {"group_size", report.group_size},
              {"bytes", report.bytes}});
}

}  // namespace

void add_export(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand(
      "export",
      "Write a quantized model in another format, every weight exactly as it is; what the format cannot hold is an "
      "error");
  command->add_option("MODEL", flags->model, "Model folder (or name on the hub) whose linears are quantized")
      ->required();
  add_format_option(*command, flags->format);
  add_option(*command, "--output", flags->output, "Folder to write; must not exist")->required();
  add_flag(*command, "--json", flags->json, "Print JSON");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
