// Quantizes with any set of steps, to measure what each is worth; `salient quantize` offers the sets that are.
// Calibration is a file of token ids, a sequence a line, so that other programs can be given the same.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>

#include "generate/self_text.h"
#include "quantize/estimate.h"
#include "quantize/quantizer.h"
#include "runner/cpu_runner.h"
#include "program.h"
#include "token_file.h"

namespace {

using namespace salient;

/// What `salient quantize` calibrates with where it is given no text.
void write_self_text(const std::shared_ptr<const model::Decoder>& decoder, core::ThreadPool& pool,
                     const std::filesystem::path& path) {
  runner::CpuRunner runner(decoder, pool);
  const auto& config = decoder->checkpoint().config;
  std::ofstream file(path);
  for (const auto& sequence :
       generate::write_self_text(runner, {.first_token = config.value("bos_token_id", 0)}, nullptr)) {
    for (const int32_t token : sequence) file << token << ' ';
    file << '\n';
  }
}

int run(int argc, char** argv) {
  CLI::App program("Quantizes a model with any set of steps");
  std::filesystem::path model;
  std::filesystem::path calibration;
  std::filesystem::path self_text;
  int threads = 0;
  quantize::QuantizeOptions options;
  options.steps = quantize::steps_of(quantize::Method::kAwqPlus, /*clip=*/true);
  quantize::Steps& steps = options.steps;
  program.add_option("MODEL", model)->required();
  program.add_option("--self-text", self_text, "Write the model's own calibration text here, and do no more");
  program.add_option("--calibration", calibration, "File of token ids, a sequence a line");
  program.add_option("--output", options.output);
  program.add_flag("--resume", options.resume);
  program.add_option("--threads", threads);
  program.add_option("--group-size", options.group_size);
  program.add_option("--scale", steps.scale);
  program.add_option("--scale-values", steps.scale_values);
  program.add_option("--search-grids", steps.search_grids);
  program.add_option("--compensate", steps.compensate);
  program.add_option("--sweeps", steps.sweeps);
  program.add_option("--shrinkage", steps.shrinkage);
  program.add_option("--damping", steps.damping);
  program.add_option("--correction", steps.correction);
  CLI11_PARSE(program, argc, argv);
  core::ThreadPool pool(threads);
  const auto decoder =
      std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(model)));
  if (!self_text.empty()) {
    write_self_text(decoder, pool, self_text);
    return 0;
  }
  const auto texts = bench::read_token_file(calibration);
  const double rate_before = quantize::measure_rate(pool);
  const auto report = quantize::quantize(decoder, texts, options, pool);
  const auto expected = quantize::estimate(decoder->spec(), report.group_size, options.steps, std::ssize(texts),
                                           texts.empty() ? 0 : std::ssize(texts.front()));
  const nlohmann::json result = {{"seconds", report.seconds},
                                 {"layers", report.layers},
                                 {"stage_seconds", quantize::to_json(report.stage_seconds)},
                                 {"stage_flop", quantize::to_json(expected.flop)},
                                 {"memory", expected.memory},
                                 {"flop_per_second", {rate_before, quantize::measure_rate(pool)}}};
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return salient::bench::run_program("quantize_steps", [&] { return run(argc, argv); });
}
