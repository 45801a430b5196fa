#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "convert/onnx_exporter.h"
#include "convert/packed_exporter.h"

namespace salient::cli {

namespace {

struct Flags {
  std::filesystem::path model;
  std::string format = "awq";
  std::string layout = "cpu";
  std::optional<int> accuracy_level;
  std::filesystem::path output;
  bool json = false;
};

void run_packed(const Flags& flags) {
  const Interrupt interrupt;
  const auto decoder = open_decoder(flags.model);
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

void run_onnx(const Flags& flags) {
  const Interrupt interrupt;
  const auto decoder = open_decoder(flags.model);
  const auto layout = flags.layout == "cpu" ? convert::OnnxLayout::kCpu : convert::OnnxLayout::kDml;
  const convert::OnnxExportReport report =
      convert::export_onnx(*decoder, {layout, flags.accuracy_level, flags.output, show_progress(), interrupt.token()});
  if (!flags.json) {
    fmt::print("{}: onnx for {}, {}, quantized weights as they were, others in {}\n", flags.output.string(),
               flags.layout, core::format_bytes(report.bytes), layout == convert::OnnxLayout::kCpu ? "fp32" : "fp16");
    return;
  }
  print_json(
      {{"output", flags.output.string()}, {"format", flags.format}, {"layout", flags.layout}, {"bytes", report.bytes}});
}

}  // namespace

void add_export(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand(
      "export",
      "Write a model in another format, every quantized weight exactly as it is; what the format cannot hold is an "
      "error");
  command->add_option("MODEL", flags->model, "Model folder or GGUF file; quantized, but for onnx")->required();
  add_option(*command, "--format", flags->format,
             "awq (AutoAWQ), compressed-tensors, or onnx (a folder of ONNX Runtime's generate() API)")
      ->check(CLI::IsMember({"awq", "compressed-tensors", "onnx"}));
  add_option(*command, "--layout", flags->layout, "Of an onnx graph: cpu (fp32) or dml (fp16, DirectML)")
      ->check(CLI::IsMember({"cpu", "dml"}));
  command
      ->add_option("--accuracy-level", flags->accuracy_level,
                   "Of an onnx graph's int4 products: 4 allows int8 activations, 0 does not [4 with cpu, 0 with dml]")
      ->envname(environment_name("--accuracy-level"))
      ->check(CLI::Range(0, 4));
  add_option(*command, "--output", flags->output, "Folder to write; must not exist")->required();
  add_flag(*command, "--json", flags->json, "Print JSON");
  command->callback([flags] { flags->format == "onnx" ? run_onnx(*flags) : run_packed(*flags); });
}

}  // namespace salient::cli
