#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "api/choice.h"
#include "api/json_text.h"
#include "api/locate.h"
#include "api/monitor.h"
#include "api/run_options.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "core/progress.h"
#include "generate/self_text.h"
#include "hub/named_text.h"
#include "quantize/quantizer.h"

namespace salient {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  const core::MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

/// The text of a named set, a file, or all .txt and .md files of a folder.
std::string read_calibration_text(const QuantizeOptions& options, const Monitor& monitor) {
  if (options.calibration == "wikitext2-train") {
    return read_file(hub::locate_text(options.calibration, options.data_dir, monitor.on_progress, monitor.stop));
  }
  if (!fs::is_directory(options.calibration)) return read_file(options.calibration);
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(options.calibration)) {
    const auto extension = entry.path().extension();
    if (entry.is_regular_file() && (extension == ".txt" || extension == ".md")) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::string text;
  for (const fs::path& path : paths) text += read_file(path) + "\n\n";
  if (text.empty()) core::fail(core::ErrorKind::kInvalidInput, "{}: has no .txt or .md files", options.calibration);
  return text;
}

/// Cuts a text into sequences and takes as many as are wanted, evenly over its length.
std::vector<std::vector<int32_t>> cut(const std::vector<int32_t>& ids, int64_t sequences, int64_t tokens) {
  std::vector<std::vector<int32_t>> result;
  const int64_t available = std::ssize(ids) / tokens;
  const int64_t count = std::min(available, sequences);
  for (int64_t i = 0; i < count; ++i) {
    const auto first = ids.begin() + i * available / count * tokens;
    result.emplace_back(first, first + tokens);
  }
  if (result.empty() && !ids.empty()) result.push_back(ids);
  return result;
}

std::vector<std::vector<int32_t>> make_calibration(const QuantizeOptions& options,
                                                   const std::shared_ptr<const model::Decoder>& decoder,
                                                   core::ThreadPool& pool, const Monitor& monitor) {
  if (options.calibration_tokens > decoder->spec().max_positions) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: its context holds {} tokens, but --calibration-tokens is {}",
               decoder->checkpoint().path.string(), decoder->spec().max_positions, options.calibration_tokens);
  }
  if (options.calibration.empty()) {
    runner::CpuRunner runner(decoder, pool);
    api::say(monitor, "{}", api::describe_run(runner, pool.size()));
    api::say(monitor, "no --calibration given: the model writes {} x {} tokens itself, in one batch, at temperature 1",
             options.calibration_sequences, options.calibration_tokens);
    return generate::write_self_text(runner,
                                     {.sequences = options.calibration_sequences,
                                      .tokens = options.calibration_tokens,
                                      .seed = options.seed,
                                      .first_token = api::begin_of_sequence(*decoder).value_or(0)},
                                     monitor.on_progress, monitor.stop);
  }
  const text::Tokenizer tokenizer = api::open_tokenizer(decoder->checkpoint());
  const auto calibration = cut(tokenizer.encode(read_calibration_text(options, monitor), true),
                               options.calibration_sequences, options.calibration_tokens);
  api::say(monitor, "calibration: {} sequences of {} tokens from {}", calibration.size(),
           calibration.empty() ? 0 : calibration.front().size(), options.calibration);
  return calibration;
}

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

/// How much of the rounding error the search removed, over all layers, by part.
std::string summarize(const quantize::QuantizeReport& report, const QuantizeOptions& options, const Sizes& before) {
  struct Sum {
    std::string part;
    double before = 0;
    double after = 0;
  };
  std::vector<Sum> sums;
  for (const json& layer : report.layers) {
    for (const json& line : layer) {
      const auto part = line["part"].get<std::string>();
      auto sum = std::find_if(sums.begin(), sums.end(), [&](const Sum& s) { return s.part == part; });
      if (sum == sums.end()) sum = sums.insert(sums.end(), Sum{part});
      sum->before += line["loss_before"].get<double>();
      sum->after += line["loss_after"].get<double>();
    }
  }
  std::string text;
  for (const Sum& sum : sums) {
    const bool scale = sum.part.find(' ') != std::string::npos;
    text += fmt::format("{} {:<17} removes {:5.1f} % of the squared output error\n", scale ? "scaling " : "clipping",
                        sum.part, sum.before > 0 ? 100 * (1 - sum.after / sum.before) : 0.0);
  }
  if (report.resumed_layers > 0)
    text += fmt::format("resumed: {} layers were finished before\n", report.resumed_layers);
  text += fmt::format("{}: {} in groups of {}, {} ({} as stored, {} in fp16), {}\n", options.output.string(),
                      options.method == "rtn" ? "int4, rounded to nearest," : "int4 AWQ", report.group_size,
                      core::format_bytes(report.bytes), core::format_bytes(before.stored),
                      core::format_bytes(before.fp16), core::format_duration(report.seconds));
  return text;
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
  api::check_choice("method", options.method, {"awq", "rtn"});
  quantize::QuantizeOptions result;
  result.method = options.method == "rtn" ? quantize::Method::kRoundToNearest : quantize::Method::kAwq;
  result.format = api::packed_format(options.format);
  result.clip = options.clip;
  result.group_size = options.group_size;
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
           api::describe_kernels());
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
  std::vector<std::vector<int32_t>> calibration;
  if (layer_options.method == quantize::Method::kAwq) calibration = make_calibration(options, decoder, pool, monitor);
  const quantize::QuantizeReport report = quantize::quantize(decoder, calibration, layer_options, pool);
  const json document = {{"output", options.output.string()},
                         {"format", options.format},
                         {"method", options.method},
                         {"group_size", report.group_size},
                         {"bytes_before", before.stored},
                         {"bytes_in_fp16", before.fp16},
                         {"bytes", report.bytes},
                         {"seconds", report.seconds},
                         {"resumed_layers", report.resumed_layers},
                         {"layers", report.layers}};
  return {api::to_text(document), summarize(report, options, before)};
}

}  // namespace salient
