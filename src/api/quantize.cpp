#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "api/calibration.h"
#include "api/choice.h"
#include "api/json_text.h"
#include "api/locate.h"
#include "api/monitor.h"
#include "api/run_options.h"
#include "core/error.h"
#include "core/progress.h"
#include "quantize/estimate.h"
#include "quantize/quantizer.h"
#include "quantize/report_page.h"

namespace salient {

namespace {

using nlohmann::json;

const std::map<std::string, quantize::Method> kMethods = {
    {"rtn", quantize::Method::kRoundToNearest}, {"awq", quantize::Method::kAwq}, {"awq+", quantize::Method::kAwqPlus}};

/// What a model takes on disk, and would take in fp16.
struct Sizes {
  uint64_t stored = 0;
  uint64_t fp16 = 0;
};

Sizes sizes_of(const checkpoint::Checkpoint& checkpoint) {
  Sizes sizes;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    const core::DTypeInfo& info = core::info_of(tensor.view.dtype);
    sizes.stored += tensor.view.bytes.size();
    sizes.fp16 += tensor.view.bytes.size() / static_cast<uint64_t>(info.block_bytes) *
                  static_cast<uint64_t>(info.block_elements) * 2;
  }
  return sizes;
}

/// Which layers have 8 bits, and what the model's divergence is with them.
std::string describe_widths(const quantize::QuantizeReport& report) {
  std::vector<size_t> wide;
  double all_int4 = 0;
  for (size_t i = 0; i < report.layers.size(); ++i) {
    if (report.layers[i]["bits"] == 8) wide.push_back(i);
    all_int4 += report.layers[i]["sensitivity"].get<double>();
  }
  return fmt::format(
      "{} of {} layers in int8{}{}; KL divergence {:.4f} on held-out text (each layer in int4 alone: {:.4f} in sum)\n",
      wide.size(), report.layers.size(), wide.empty() ? "" : ": ", fmt::join(wide, ", "), *report.divergence, all_int4);
}

/// How much of the rounding error the search removed, over all layers, by part.
std::string summarize(const quantize::QuantizeReport& report, const QuantizeOptions& options, const Sizes& before) {
  struct Sum {
    std::string kind;
    std::string part;
    double before = 0;
    double after = 0;
  };
  std::vector<Sum> sums;
  for (const json& layer : report.layers) {
    for (const json& line : layer["steps"]) {
      const auto kind = line["kind"].get<std::string>();
      const auto part = line["part"].get<std::string>();
      auto sum = std::find_if(sums.begin(), sums.end(), [&](const Sum& s) { return s.kind == kind && s.part == part; });
      if (sum == sums.end()) sum = sums.insert(sums.end(), Sum{kind, part});
      sum->before += line["loss_before"].get<double>();
      sum->after += line["loss_after"].get<double>();
    }
  }
  std::string text;
  for (const Sum& sum : sums) {
    text += fmt::format("{:<17} {} {:5.1f} % of the squared output error of rounding\n", sum.part,
                        sum.kind == "scales" ? "scales remove " : "search removes",
                        sum.before > 0 ? 100 * (1 - sum.after / sum.before) : 0.0);
  }
  if (report.resumed_layers > 0)
    text += fmt::format("resumed: {} layers were finished before\n", report.resumed_layers);
  if (report.divergence) text += describe_widths(report);
  text += fmt::format("{}: {} in groups of {}, {} ({} as stored, {} in fp16), {}\n", options.output.string(),
                      options.method == "rtn" ? "int4, rounded to nearest," : "int4 " + options.method,
                      report.group_size, core::format_bytes(report.bytes), core::format_bytes(before.stored),
                      core::format_bytes(before.fp16), core::format_duration(report.seconds));
  return text;
}

/// What the run would take, in place of the run.
Report estimate(const QuantizeOptions& options, const quantize::Steps& steps, const model::Decoder& decoder,
                const Sizes& before, core::ThreadPool& pool) {
  const auto expected =
      quantize::estimate(decoder.spec(), quantize::choose_group_size(decoder.spec(), options.group_size), steps,
                         options.calibration_sequences, options.calibration_tokens);
  const double rate = quantize::measure_rate(pool);
  const double seconds = expected.total_flop() / rate;
  const json document = {{"bytes", expected.bytes},   {"bytes_before", before.stored},
                         {"memory", expected.memory}, {"flop", quantize::to_json(expected.flop)},
                         {"flop_per_second", rate},   {"seconds", seconds}};
  const bool writes_text = options.calibration.empty() && steps.need_calibration();
  return {api::to_text(document),
          fmt::format("{}: {} of tensors ({} as stored)\nmemory: {} at the peak, beside the file\n"
                      "time: at least {}, for {:.1f} Tflop at {:.0f} Gflop/s{}\n",
                      options.output.string(), core::format_bytes(expected.bytes), core::format_bytes(before.stored),
                      core::format_bytes(expected.memory), core::format_duration(seconds), expected.total_flop() / 1e12,
                      rate / 1e9, writes_text ? ", after the model has written its text" : "")};
}

/// The formats of tensors that are quantized already, as a GGUF's may be.
std::set<std::string_view> block_formats(const checkpoint::Checkpoint& checkpoint) {
  std::set<std::string_view> formats;
  for (const auto& [name, stored] : checkpoint.tensors) {
    if (core::is_block_quantized(stored.view.dtype)) formats.insert(core::info_of(stored.view.dtype).name);
  }
  return formats;
}

/// The options in the terms of the layer below.
quantize::QuantizeOptions to_layer(const QuantizeOptions& options, const Monitor& monitor) {
  api::check_choice("method", options.method, {"awq+", "awq", "rtn"});
  quantize::QuantizeOptions result;
  result.steps = quantize::steps_of(kMethods.at(options.method), options.clip);
  result.steps.symmetric = options.symmetric;
  result.format = api::packed_format(options.format);
  result.group_size = options.group_size;
  result.target = {options.target_bytes, options.target_divergence};
  result.output = options.output;
  result.resume = options.resume;
  result.identity = {{"text", options.calibration.empty() ? "self" : options.calibration},
                     {"sequences", options.calibration_sequences},
                     {"tokens", options.calibration_tokens},
                     {"seed", options.seed}};
  result.progress = monitor.on_progress;
  result.stop = monitor.stop;
  return result;
}

/// What a person should know of how the model will be quantized.
void say_how(const quantize::QuantizeOptions& options, const model::Decoder& decoder, const ModelName& name,
             const Monitor& monitor) {
  if (const auto formats = block_formats(decoder.checkpoint()); !formats.empty()) {
    api::say(monitor, "{}: is itself quantized ({}); the error of that stays, and more is added", name.string(),
             fmt::join(formats, ", "));
  }
  const int group_size = quantize::choose_group_size(decoder.spec(), options.group_size);
  api::say(monitor, "groups of {}{}; {}", group_size,
           options.group_size == 0 && group_size != 128
               ? ": the largest of 128, 64 and 32 that divides every input (the format has one size for all)"
               : "",
           runner::describe_kernels());
}

}  // namespace

Report v1::quantize_model(const ModelName& name, const QuantizeOptions& options, const Monitor& monitor) {
  const quantize::QuantizeOptions layer_options = to_layer(options, monitor);
  if (options.calibration_sequences < 1 || options.calibration_tokens < 1) {
    core::fail(core::ErrorKind::kInvalidInput, "{} calibration sequences of {} tokens, expected 1 or more of both",
               options.calibration_sequences, options.calibration_tokens);
  }
  core::ThreadPool pool(api::checked_threads(options.threads));
  const auto decoder = api::open_decoder(name, monitor);
  const Sizes before = sizes_of(decoder->checkpoint());
  quantize::check_quantizable(*decoder, layer_options);
  say_how(layer_options, *decoder, name, monitor);
  if (options.dry_run) return estimate(options, layer_options.steps, *decoder, before, pool);
  std::vector<std::vector<int32_t>> calibration;
  if (layer_options.steps.need_calibration()) {
    calibration = api::make_calibration(options, decoder, pool, monitor);
    const std::string warning = quantize::calibration_warning(decoder->spec(), calibration);
    if (!warning.empty()) api::say(monitor, "warning: {}", warning);
  }
  const quantize::QuantizeReport report = quantize::quantize(decoder, calibration, layer_options, pool);
  const std::string warning = quantize::coverage_warning(report.layers);
  if (!warning.empty()) api::say(monitor, "warning: {}", warning);
  const json document = {{"output", options.output.string()},
                         {"format", options.format},
                         {"method", options.method},
                         {"group_size", report.group_size},
                         {"bytes_before", before.stored},
                         {"bytes_in_fp16", before.fp16},
                         {"bytes", report.bytes},
                         {"seconds", report.seconds},
                         {"stage_seconds", quantize::to_json(report.stage_seconds)},
                         {"resumed_layers", report.resumed_layers},
                         {"kl_divergence", report.divergence ? json(*report.divergence) : json()},
                         {"layers", report.layers}};
  quantize::write_report(options.output, document);
  return {api::to_text(document), summarize(report, options, before)};
}

}  // namespace salient
