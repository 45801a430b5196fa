#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "cli/scoring.h"
#include "convert/gguf_exporter.h"
#include "convert/onnx_exporter.h"
#include "convert/packed_exporter.h"
#include "evaluate/perplexity.h"

namespace salient::cli {

namespace {

struct Flags {
  std::filesystem::path model;
  std::string format = "awq";
  std::string layout = "cpu";
  std::optional<int> accuracy_level;
  std::filesystem::path output;
  bool exact = false;
  int64_t limit = 4;
  int threads = 0;
  bool json = false;
};

/// What was written, in words and for programs.
struct Written {
  std::string description;
  nlohmann::json fields;
  uint64_t bytes = 0;
  std::vector<convert::WeightChange> changes;
};

Written write_gguf(const Flags& flags, const model::Decoder& decoder, const Interrupt& interrupt) {
  const auto report = convert::export_gguf(decoder, {flags.output, flags.exact, show_progress(), interrupt.token()});
  std::string kinds;
  for (const auto& [dtype, count] : report.matrices) {
    kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", count, dtype);
  }
  return {kinds + " matrices", {{"matrices", report.matrices}}, report.bytes, report.changes};
}

Written write_onnx(const Flags& flags, const model::Decoder& decoder, const Interrupt& interrupt) {
  const bool cpu = flags.layout == "cpu";
  const auto report =
      convert::export_onnx(decoder, {cpu ? convert::OnnxLayout::kCpu : convert::OnnxLayout::kDml, flags.accuracy_level,
                                     flags.output, flags.exact, show_progress(), interrupt.token()});
  return {fmt::format("for {}, dense weights in {}", flags.layout, cpu ? "fp32" : "fp16"),
          {{"layout", flags.layout}},
          report.bytes,
          report.changes};
}

Written write_packed(const Flags& flags, const model::Decoder& decoder, const Interrupt& interrupt) {
  const auto report = convert::export_packed(decoder.checkpoint(), {packed_format(flags.format), flags.output,
                                                                    flags.exact, show_progress(), interrupt.token()});
  return {fmt::format("int{} in groups of {}", report.bits, report.group_size),
          {{"bits", report.bits}, {"group_size", report.group_size}},
          report.bytes,
          report.changes};
}

/// KL(source || written) on text that the source writes, with fp32 activations, so that it is the weights' alone.
evaluate::Divergence measure_divergence(const Flags& flags, const Interrupt& interrupt) {
  core::ThreadPool pool(flags.threads);
  const auto source = make_scoring_runner(flags.model, kExactOptions, pool, interrupt.token());
  const auto written = make_scoring_runner(flags.output, kExactOptions, pool, interrupt.token());
  evaluate::Recipe recipe = evaluate::find_recipe("paper");
  constexpr int64_t kWindow = 512;
  recipe.window = recipe.stride = std::min(kWindow, source->decoder().spec().max_positions);
  const auto tokens = write_scoring_text(*source, flags.limit, recipe.window, interrupt.token());
  return evaluate::evaluate(*written, source.get(), tokens, recipe, flags.limit, -1, show_progress(), interrupt.token())
      .divergence;
}

nlohmann::json to_json(const std::vector<convert::WeightChange>& changes) {
  nlohmann::json list = nlohmann::json::array();
  for (const convert::WeightChange& change : changes) {
    list.push_back({{"linear", change.linear},
                    {"cause", change.cause},
                    {"largest_steps", change.largest_steps},
                    {"root_mean_square_steps", std::sqrt(change.mean_square_steps)}});
  }
  return list;
}

/// A line for each cause: how many linears, and the one that moved furthest.
void print_changes(const std::vector<convert::WeightChange>& changes) {
  std::map<std::string, std::vector<const convert::WeightChange*>> by_cause;
  for (const convert::WeightChange& change : changes) by_cause[change.cause].push_back(&change);
  for (const auto& [cause, list] : by_cause) {
    const auto* furthest = *std::max_element(
        list.begin(), list.end(), [](const auto* a, const auto* b) { return a->largest_steps < b->largest_steps; });
    double squares = 0;
    for (const auto* change : list) squares += change->mean_square_steps;
    fmt::print(
        "{} linear{} changed, {} because {}: by {:.2g} of a step in the root mean square, {:.2g} at most (in {})\n",
        list.size(), list.size() == 1 ? "" : "s", list.size() == 1 ? "it" : "each", cause,
        std::sqrt(squares / static_cast<double>(list.size())), furthest->largest_steps, furthest->linear);
  }
}

void run(const Flags& flags) {
  const Interrupt interrupt;
  const auto decoder = open_decoder(flags.model, interrupt.token());
  const auto write = flags.format == "gguf" ? write_gguf : flags.format == "onnx" ? write_onnx : write_packed;
  const Written written = write(flags, *decoder, interrupt);
  if (!flags.json) {
    fmt::print("{}: {}, {}, {}{}\n", flags.output.string(), flags.format, written.description,
               core::format_bytes(written.bytes), written.changes.empty() ? ", every quantized weight as it was" : "");
    print_changes(written.changes);
  }
  nlohmann::json report = {{"output", flags.output.string()},
                           {"format", flags.format},
                           {"bytes", written.bytes},
                           {"changes", to_json(written.changes)}};
  report.update(written.fields);
  if (!written.changes.empty() && flags.limit > 0) {
    const evaluate::Divergence divergence = measure_divergence(flags, interrupt);
    report["kl_divergence"] = divergence.mean_kl;
    report["kl_standard_error"] = divergence.standard_error;
    report["top1_agreement"] = divergence.top1_agreement;
    if (!flags.json) {
      fmt::print(
          "KL divergence from the source, fp32 activations, text it wrote: {:.6f} ± {:.6f}; same top-1 {:.2f} %\n",
          divergence.mean_kl, divergence.standard_error, 100 * divergence.top1_agreement);
    }
  }
  if (flags.json) print_json(report);
}

}  // namespace

void add_export(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand(
      "export",
      "Write a model in another format. Every quantized weight stays as it is where the format can hold it; else the "
      "linears that change are named, with how far they moved and the KL divergence from the source");
  command->add_option("MODEL", flags->model, kModelHelp)->required();
  add_option(*command, "--format", flags->format,
             "awq (AutoAWQ) or compressed-tensors, whose linears must be quantized already, gguf, or onnx (a folder of "
             "ONNX Runtime's generate() API)")
      ->check(CLI::IsMember({"awq", "compressed-tensors", "gguf", "onnx"}));
  add_option(*command, "--layout", flags->layout, "Of an onnx graph: cpu (fp32) or dml (fp16, DirectML)")
      ->check(CLI::IsMember({"cpu", "dml"}));
  command
      ->add_option("--accuracy-level", flags->accuracy_level,
                   "Of an onnx graph's int4 products: 4 allows int8 activations, 0 does not [4 with cpu, 0 with dml]")
      ->envname(environment_name("--accuracy-level"))
      ->check(CLI::Range(0, 4));
  add_option(*command, "--output", flags->output, "Folder, or for gguf file, to write; must not exist")->required();
  add_flag(*command, "--exact", flags->exact, "Refuse where a quantized weight would change");
  add_option(*command, "--limit", flags->limit,
             "Windows of 512 tokens, written by the source, that the KL divergence is measured on; 0: none")
      ->check(at_least(0));
  add_option(*command, "--threads", flags->threads, "Threads for measuring; 0: all CPUs this process may use")
      ->check(CLI::Range(0, 1024));
  add_flag(*command, "--json", flags->json, "Print JSON");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
