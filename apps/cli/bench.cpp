#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model.h"
#include "convert/packed_exporter.h"
#include "core/error.h"
#include "core/os.h"
#include "evaluate/bandwidth.h"
#include "evaluate/speed.h"
#include "evaluate/speed_report.h"
#include "kernels/kernels.h"
#include "model/synthetic.h"

namespace salient::cli {

namespace {

struct Flags {
  std::filesystem::path model;
  std::string synthetic;
  std::filesystem::path write;
  evaluate::SpeedOptions speed;
  std::optional<int64_t> depth;
  PrecisionFlags precision;
  int threads = 0;
  bool json = false;
};

std::shared_ptr<const model::Decoder> open_model(const Flags& flags, const Interrupt& interrupt) {
  if (flags.synthetic.empty()) return open_decoder(flags.model, interrupt.token());
  auto checkpoint = model::make_synthetic(flags.synthetic, model::synthetic_config(flags.synthetic));
  return std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(std::move(checkpoint)));
}

void write_synthetic(const Flags& flags, const Interrupt& interrupt) {
  const auto decoder = open_model(flags, interrupt);
  const auto report = convert::export_packed(
      decoder->checkpoint(),
      {checkpoint::PackedFormat::kAwq, flags.write, /*exact=*/true, show_progress(), interrupt.token()});
  fmt::print("{}: random weights in the shape of {}, int4 AWQ in groups of {}, {}\n", flags.write.string(),
             flags.synthetic, report.group_size, core::format_bytes(report.bytes));
}

/// The depth that was asked for; without one, as much of the usual depth as the context has room for.
int64_t choose_depth(const Flags& flags, const model::DecoderSpec& spec) {
  if (flags.depth) return *flags.depth;
  return std::clamp(spec.max_positions - flags.speed.generate_tokens, int64_t{0}, flags.speed.depth);
}

void check_memory(const model::Decoder& decoder, runner::HeadPrecision head) {
  const uint64_t needed = resident_bytes(decoder, head);
  const uint64_t available = core::os::available_memory();
  if (needed < available) return;
  core::fail(core::ErrorKind::kOutOfMemory, "{}: its weights need {} of memory, {} are free",
             decoder.checkpoint().path.string(), core::format_bytes(needed), core::format_bytes(available));
}

void measure(const Flags& flags, const Interrupt& interrupt) {
  const auto decoder = open_model(flags, interrupt);
  evaluate::SpeedOptions options = flags.speed;
  options.depth = choose_depth(flags, decoder->spec());
  options.sweep_bytes = evaluate::probe_bytes();
  evaluate::check_speed_options(decoder->spec(), options, decoder->checkpoint().path.string());
  runner::CpuRunnerOptions runner_options = {.progress = show_progress()};
  flags.precision.apply_to(runner_options);
  check_memory(*decoder, runner_options.head);
  core::ThreadPool pool(flags.threads);
  runner::CpuRunner runner(decoder, pool, runner_options);
  say_what_runs(runner, pool.size());
  evaluate::SpeedReport report;
  report.model = decoder->checkpoint().path.string();
  report.format = decoder->checkpoint().format;
  report.arithmetic = describe_arithmetic(runner);
  report.cpu = core::os::cpu_name();
  report.kernels = kernels::active_kernels().name;
  report.threads = pool.size();
  report.weight_bytes = runner.bytes_per_token();
  report.measurement = evaluate::measure_speed(runner, options, show_progress(), interrupt.token());
  if (flags.json) {
    print_json(evaluate::to_json(report));
  } else {
    fmt::print("{}", evaluate::format_speed(report));
  }
}

void run(const Flags& flags) {
  if (flags.model.empty() == flags.synthetic.empty()) {
    throw CLI::ValidationError("bench", "expected a MODEL or --synthetic, one of them");
  }
  if (!flags.write.empty() && flags.synthetic.empty()) {
    throw CLI::ValidationError("--write", "writes a --synthetic model, and there is none");
  }
  const Interrupt interrupt;
  if (flags.write.empty()) {
    measure(flags, interrupt);
  } else {
    write_synthetic(flags, interrupt);
  }
}

}  // namespace

void add_bench(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand(
      "bench", "Measure how fast a model runs here, and how much of this machine's memory bandwidth it uses");
  command->add_option("MODEL", flags->model, kModelHelp);
  add_option(*command, "--synthetic", flags->synthetic,
             "Instead of a MODEL, random int4 weights in memory in the shape of: " +
                 fmt::format("{}", fmt::join(model::synthetic_names(), ", ")))
      ->check(CLI::IsMember(model::synthetic_names()));
  add_option(*command, "--prompt-tokens", flags->speed.prompt_tokens, "Of the prefill test; 0: none")
      ->check(at_least(0));
  add_option(*command, "--generate-tokens", flags->speed.generate_tokens, "Of each decoding test; 0: none")
      ->check(at_least(0));
  command
      ->add_option("--depth", flags->depth,
                   "Tokens before those of a second decoding test; 0: none [4096, or what the context holds]")
      ->envname(environment_name("--depth"))
      ->check(at_least(0));
  add_option(*command, "--repetitions", flags->speed.repetitions, "Of each test")->check(at_least(1));
  flags->precision.add_to(*command);
  add_option(*command, "--threads", flags->threads, "Threads; 0: all CPUs this process may use")
      ->check(CLI::Range(0, 1024));
  add_option(*command, "--write", flags->write,
             "Measure nothing, but write the synthetic model as an AutoAWQ folder, for other programs to run");
  add_flag(*command, "--json", flags->json, "Print JSON: an object for each test");
  command->callback([flags] { run(*flags); });
}

}  // namespace salient::cli
