#include "evaluate/speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/json_text.h"
#include "api/locate.h"
#include "api/monitor.h"
#include "api/run_options.h"
#include "convert/packed_exporter.h"
#include "core/error.h"
#include "core/os.h"
#include "core/progress.h"
#include "evaluate/bandwidth.h"
#include "evaluate/speed_report.h"
#include "kernels/kernels.h"
#include "model/synthetic.h"

namespace salient {

namespace {

std::shared_ptr<const model::Decoder> make_synthetic(const std::string& name) {
  auto checkpoint = model::make_synthetic(name, model::synthetic_config(name));
  return std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(std::move(checkpoint)));
}

/// The depth that was asked for; without one, as much of the usual depth as the context has room for.
int64_t choose_depth(const SpeedOptions& options, const model::DecoderSpec& spec) {
  if (options.depth) return *options.depth;
  return std::clamp(spec.max_positions - options.generate_tokens, int64_t{0}, evaluate::SpeedOptions().depth);
}

void check_memory(const model::Decoder& decoder, runner::HeadPrecision head) {
  const uint64_t needed = api::resident_bytes(decoder, head);
  const uint64_t available = core::os::available_memory();
  if (needed < available) return;
  core::fail(core::ErrorKind::kOutOfMemory, "{}: its weights need {} of memory, {} are free",
             decoder.checkpoint().path.string(), core::format_bytes(needed), core::format_bytes(available));
}

}  // namespace

Report v1::measure_speed(const ModelName& name, const SpeedOptions& options, const Monitor& monitor) {
  const auto decoder = options.synthetic.empty() ? api::open_decoder(name, monitor) : make_synthetic(options.synthetic);
  evaluate::SpeedOptions speed;
  speed.prompt_tokens = options.prompt_tokens;
  speed.generate_tokens = options.generate_tokens;
  speed.depth = choose_depth(options, decoder->spec());
  speed.repetitions = options.repetitions;
  speed.sweep_bytes = evaluate::probe_bytes();
  evaluate::check_speed_options(decoder->spec(), speed, decoder->checkpoint().path.string());
  runner::CpuRunnerOptions runner_options = {.progress = monitor.on_progress};
  api::apply(options.model, runner_options);
  check_memory(*decoder, runner_options.head);
  core::ThreadPool pool(api::checked_threads(options.model.threads));
  runner::CpuRunner runner(decoder, pool, runner_options);
  api::say(monitor, "{}", api::describe_run(runner, pool.size()));
  evaluate::SpeedReport report;
  report.model = decoder->checkpoint().path.string();
  report.format = decoder->checkpoint().format;
  report.arithmetic = api::describe_arithmetic(runner);
  report.cpu = core::os::cpu_name();
  report.kernels = kernels::active_kernels().name;
  report.threads = pool.size();
  report.weight_bytes = runner.bytes_per_token();
  report.measurement = evaluate::measure_speed(runner, speed, monitor.on_progress, monitor.stop);
  return {api::to_text(evaluate::to_json(report)), evaluate::format_speed(report)};
}

std::vector<std::string> v1::synthetic_models() {
  return model::synthetic_names();
}

Report v1::write_synthetic_model(const std::string& name, const std::filesystem::path& output, const Monitor& monitor) {
  const auto decoder = make_synthetic(name);
  const auto report =
      convert::export_packed(decoder->checkpoint(), {checkpoint::PackedFormat::kAwq, output,
                                                     /*exact=*/true, monitor.on_progress, monitor.stop});
  return {api::to_text({{"output", output.string()}, {"group_size", report.group_size}, {"bytes", report.bytes}}),
          fmt::format("{}: random weights in the shape of {}, int4 AWQ in groups of {}, {}\n", output.string(), name,
                      report.group_size, core::format_bytes(report.bytes))};
}

}  // namespace salient
