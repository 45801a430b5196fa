#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "generate/self_text.h"
#include "hub/named_text.h"
#include "quantize/quantizer.h"

namespace salient::cli {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct Flags {
  RunFlags run;
  quantize::QuantizeOptions options;
  std::string format = "awq";
  std::string method = "awq";
  std::string clip = "on";
  std::string calibration;
  fs::path data_dir;
  int64_t sequences = 48;
  int64_t tokens = 512;
  uint64_t seed = 0;
  bool json = false;
};

std::string read_file(const fs::path& path) {
  const core::MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

/// The text of a named set, a file, or all .txt and .md files of a folder.
std::string read_calibration_text(const Flags& flags, const std::stop_token& stop) {
  if (flags.calibration == "wikitext2-train") {
    return read_file(hub::locate_text(flags.calibration, flags.data_dir, show_progress(), stop));
  }
  if (!fs::is_directory(flags.calibration)) return read_file(flags.calibration);
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(flags.calibration)) {
    const auto extension = entry.path().extension();
    if (entry.is_regular_file() && (extension == ".txt" || extension == ".md")) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::string text;
  for (const fs::path& path : paths) text += read_file(path) + "\n\n";
  if (text.empty()) core::fail(core::ErrorKind::kInvalidInput, "{}: has no .txt or .md files", flags.calibration);
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

std::vector<std::vector<int32_t>> make_calibration(const Flags& flags,
                                                   const std::shared_ptr<const model::Decoder>& decoder,
                                                   core::ThreadPool& pool, const std::stop_token& stop) {
  if (flags.tokens > decoder->spec().max_positions) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: its context holds {} tokens, but --calibration-tokens is {}",
               decoder->checkpoint().path.string(), decoder->spec().max_positions, flags.tokens);
  }
  if (flags.calibration.empty()) {
    runner::CpuRunner runner(decoder, pool);
    say_what_runs(runner, pool.size());
    fmt::print(stderr,
               "no --calibration given: the model writes {} x {} tokens itself, in one batch, at temperature 1\n",
               flags.sequences, flags.tokens);
    return generate::write_self_text(runner,
                                     {.sequences = flags.sequences,
                                      .tokens = flags.tokens,
                                      .seed = flags.seed,
                                      .first_token = begin_of_sequence(*decoder).value_or(0)},
                                     show_progress(), stop);
  }
  const text::Tokenizer tokenizer = open_tokenizer(decoder->checkpoint());
  const auto calibration =
      cut(tokenizer.encode(read_calibration_text(flags, stop), true), flags.sequences, flags.tokens);
  fmt::print(stderr, "calibration: {} sequences of {} tokens from {}\n", calibration.size(),
             calibration.empty() ? 0 : calibration.front().size(), flags.calibration);
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
void print_summary(const quantize::QuantizeReport& report, const Flags& flags, const Sizes& before) {
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
  for (const Sum& sum : sums) {
    const bool scale = sum.part.find(' ') != std::string::npos;
    fmt::print("{} {:<17} removes {:5.1f} % of the squared output error\n", scale ? "scaling " : "clipping", sum.part,
               sum.before > 0 ? 100 * (1 - sum.after / sum.before) : 0.0);
  }
  if (report.resumed_layers > 0) fmt::print("resumed: {} layers were finished before\n", report.resumed_layers);
  fmt::print("{}: {} in groups of {}, {} ({} as stored, {} in fp16), {}\n", flags.options.output.string(),
             flags.method == "rtn" ? "int4, rounded to nearest," : "int4 AWQ", report.group_size,
             core::format_bytes(report.bytes), core::format_bytes(before.stored), core::format_bytes(before.fp16),
             core::format_duration(report.seconds));
}

/// The formats of tensors that are quantized already, as a GGUF's may be.
std::set<std::string_view> block_formats(const checkpoint::Checkpoint& checkpoint) {
  std::set<std::string_view> formats;
  for (const auto& [name, stored] : checkpoint.tensors) {
    if (core::is_block_quantized(stored.view.dtype)) formats.insert(core::info_of(stored.view.dtype).name);
  }
  return formats;
}

void run(Flags& flags) {
  const Interrupt interrupt;
  core::ThreadPool pool(flags.run.threads);
  const auto decoder = open_decoder(flags.run.model, interrupt.token());
  const Sizes before = sizes_of(decoder->checkpoint());

  quantize::check_quantizable(*decoder, flags.options);
  note_slow_kernels();
  if (const auto formats = block_formats(decoder->checkpoint()); !formats.empty()) {
    fmt::print(stderr, "{}: is itself quantized ({}); the error of that stays, and more is added\n",
               flags.run.model.string(), fmt::join(formats, ", "));
  }
  const int group_size = quantize::choose_group_size(decoder->spec(), flags.options.group_size);
  fmt::print(stderr, "groups of {}{}\n", group_size,
             flags.options.group_size == 0 && group_size != 128
                 ? ": the largest of 128, 64 and 32 that divides every input (the format has one size for all)"
                 : "");
  flags.options.method = flags.method == "rtn" ? quantize::Method::kRoundToNearest : quantize::Method::kAwq;
  flags.options.format = packed_format(flags.format);
  flags.options.clip = flags.clip == "on";
  flags.options.identity = {{"text", flags.calibration.empty() ? "self" : flags.calibration},
                            {"sequences", flags.sequences},
                            {"tokens", flags.tokens},
                            {"seed", flags.seed}};
  flags.options.progress = show_progress();
  flags.options.stop = interrupt.token();
  std::vector<std::vector<int32_t>> calibration;
  if (flags.options.method == quantize::Method::kAwq) {
    calibration = make_calibration(flags, decoder, pool, interrupt.token());
  }
  const quantize::QuantizeReport report = quantize::quantize(decoder, calibration, flags.options, pool);
  if (!flags.json) return print_summary(report, flags, before);
  const json result = {{"output", flags.options.output.string()},
                       {"format", flags.format},
                       {"method", flags.method},
                       {"group_size", report.group_size},
                       {"bytes_before", before.stored},
                       {"bytes_in_fp16", before.fp16},
                       {"bytes", report.bytes},
                       {"seconds", report.seconds},
                       {"resumed_layers", report.resumed_layers},
                       {"layers", report.layers}};
  print_json(result);
}

}  // namespace

void add_quantize(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      program.add_subcommand("quantize", "Make a model four times smaller: int4, as a folder others open too");
  flags->run.add_to(*command);
  add_option(*command, "--output", flags->options.output, "Folder to write; must not exist")->required();
  add_format_option(*command, flags->format);
  add_option(*command, "--method", flags->method, "awq, or rtn: plain rounding")->check(CLI::IsMember({"awq", "rtn"}));
  add_option(*command, "--clip", flags->clip, "Search clipping too: on or off")->check(CLI::IsMember({"on", "off"}));
  add_option(*command, "--group-size", flags->options.group_size,
             "Weights that share a scale: 128, 64 or 32; 0: the largest that fits")
      ->check(CLI::IsMember(std::set<int>{0, 32, 64, 128}));
  add_option(*command, "--calibration", flags->calibration,
             "Text file, folder of .txt and .md files, or wikitext2-train; without it the model writes its own");
  add_option(*command, "--data-dir", flags->data_dir, "Folder with wiki.train.raw; else it is downloaded once");
  add_option(*command, "--calibration-sequences", flags->sequences, "Sequences at most")->check(at_least(1));
  add_option(*command, "--calibration-tokens", flags->tokens, "Tokens of a sequence")->check(at_least(1));
  add_option(*command, "--seed", flags->seed, "Of the text the model writes itself")->check(at_least(0));
  add_flag(*command, "--resume", flags->options.resume, "Go on with an interrupted run of the same settings");
  add_flag(*command, "--json", flags->json, "Print the report of every layer as JSON");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
