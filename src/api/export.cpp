#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/choice.h"
#include "api/json_text.h"
#include "api/locate.h"
#include "api/run_options.h"
#include "api/scoring.h"
#include "convert/gguf_exporter.h"
#include "convert/onnx_exporter.h"
#include "convert/packed_exporter.h"
#include "core/progress.h"
#include "evaluate/perplexity.h"

namespace salient {

namespace {

/// What was written, in words and for programs.
struct Written {
  std::string description;
  nlohmann::json fields;
  uint64_t bytes = 0;
  std::vector<convert::WeightChange> changes;
  std::vector<std::string> limits = {};  ///< of those who run it, a sentence each
};

Written write_gguf(const ExportOptions& options, const model::Decoder& decoder, const Monitor& monitor) {
  const auto report = convert::export_gguf(decoder, {options.output, options.exact, monitor.on_progress, monitor.stop});
  std::string kinds;
  for (const auto& [dtype, count] : report.matrices) {
    kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", count, dtype);
  }
  return {kinds + " matrices", {{"matrices", report.matrices}}, report.bytes, report.changes};
}

Written write_onnx(const ExportOptions& options, const model::Decoder& decoder, const Monitor& monitor) {
  const bool cpu = options.layout == "cpu";
  const auto report = convert::export_onnx(
      decoder, {cpu ? convert::OnnxLayout::kCpu : convert::OnnxLayout::kDml, options.accuracy_level, options.output,
                options.exact, monitor.on_progress, monitor.stop});
  return {fmt::format("for {}, dense weights in {}", options.layout, cpu ? "fp32" : "fp16"),
          {{"layout", options.layout}, {"limits", report.limits}},
          report.bytes,
          report.changes,
          report.limits};
}

Written write_packed(const ExportOptions& options, const model::Decoder& decoder, const Monitor& monitor) {
  const auto report = convert::export_packed(decoder.checkpoint(), {api::packed_format(options.format), options.output,
                                                                    options.exact, monitor.on_progress, monitor.stop});
  return {fmt::format("int{} in groups of {}", report.bits, report.group_size),
          {{"bits", report.bits}, {"group_size", report.group_size}},
          report.bytes,
          report.changes};
}

/// KL(source || written) on text that the source writes, with fp32 activations, so that it is the weights' alone.
evaluate::Divergence measure_divergence(const ModelName& name, const ExportOptions& options, const Monitor& monitor) {
  core::ThreadPool pool(api::checked_threads(options.threads));
  const auto source = api::make_scoring_runner(name, {.exact = true}, pool, monitor);
  const auto written = api::make_scoring_runner(options.output, {.exact = true}, pool, monitor);
  evaluate::Recipe recipe = evaluate::find_recipe("paper");
  constexpr int64_t kWindow = 512;
  recipe.window = recipe.stride = std::min(kWindow, source->decoder().spec().max_positions);
  const auto tokens = api::write_scoring_text(*source, options.limit, recipe.window, monitor);
  return evaluate::evaluate(*written, source.get(), tokens, recipe, options.limit, -1, monitor.on_progress,
                            monitor.stop)
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
std::string describe_changes(const std::vector<convert::WeightChange>& changes) {
  std::map<std::string, std::vector<const convert::WeightChange*>> by_cause;
  for (const convert::WeightChange& change : changes) by_cause[change.cause].push_back(&change);
  std::string text;
  for (const auto& [cause, list] : by_cause) {
    const auto* furthest = *std::max_element(
        list.begin(), list.end(), [](const auto* a, const auto* b) { return a->largest_steps < b->largest_steps; });
    double squares = 0;
    for (const auto* change : list) squares += change->mean_square_steps;
    text += fmt::format(
        "{} linear{} changed, {} because {}: by {:.2g} of a step in the root mean square, {:.2g} at most (in {})\n",
        list.size(), list.size() == 1 ? "" : "s", list.size() == 1 ? "it" : "each", cause,
        std::sqrt(squares / static_cast<double>(list.size())), furthest->largest_steps, furthest->linear);
  }
  return text;
}

}  // namespace

Report v1::export_model(const ModelName& name, const ExportOptions& options, const Monitor& monitor) {
  api::check_choice("format", options.format, {"awq", "compressed-tensors", "gguf", "onnx"});
  api::check_choice("layout", options.layout, {"cpu", "dml"});
  const auto decoder = api::open_decoder(name, monitor);
  const auto write = options.format == "gguf" ? write_gguf : options.format == "onnx" ? write_onnx : write_packed;
  const Written written = write(options, *decoder, monitor);
  Report report;
  report.text = fmt::format("{}: {}, {}, {}{}\n", options.output.string(), options.format, written.description,
                            core::format_bytes(written.bytes),
                            written.changes.empty() ? ", every quantized weight as it was" : "");
  report.text += describe_changes(written.changes);
  for (const std::string& limit : written.limits) report.text += limit + '\n';
  nlohmann::json document = {{"output", options.output.string()},
                             {"format", options.format},
                             {"bytes", written.bytes},
                             {"changes", to_json(written.changes)}};
  document.update(written.fields);
  if (!written.changes.empty() && options.limit > 0) {
    const evaluate::Divergence divergence = measure_divergence(name, options, monitor);
    document["kl_divergence"] = divergence.mean_kl;
    document["kl_standard_error"] = divergence.standard_error;
    document["top1_agreement"] = divergence.top1_agreement;
    report.text += fmt::format(
        "KL divergence from the source, fp32 activations, text it wrote: {:.6f} ± {:.6f}; same top-1 {:.2f} %\n",
        divergence.mean_kl, divergence.standard_error, 100 * divergence.top1_agreement);
  }
  report.json = api::to_text(document);
  return report;
}

}  // namespace salient
