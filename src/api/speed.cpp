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
#include "evaluate/traffic_report.h"
#include "kernels/kernels.h"
#include "model/synthetic.h"
#include "runner/vulkan/vulkan_bandwidth.h"
#include "runner/vulkan/vulkan_count.h"
#include "runner/weight_bytes.h"

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

/// A GPU's is checked by its runner.
void check_memory(const model::Decoder& decoder, const device::RunnerOptions& options) {
  if (options.device.kind == device::DeviceName::Kind::kGpu) return;
  const uint64_t needed = runner::weight_bytes(decoder, options.head);
  const uint64_t available = core::os::available_memory();
  if (needed < available) return;
  core::fail(core::ErrorKind::kOutOfMemory, "{}: its weights need {} of memory, {} are free",
             decoder.checkpoint().path.string(), core::format_bytes(needed), core::format_bytes(available));
}

/// The memory of a GPU.
class GpuMemory : public evaluate::MemoryProbe {
 public:
  explicit GpuMemory(int adapter) : probe_(adapter) {}
  int64_t bytes() const override { return probe_.bytes(); }
  double measure() override { return probe_.read(); }
  std::string method() const override { return "by the GPU, 16 bytes a thread side by side"; }

 private:
  runner::VulkanBandwidthProbe probe_;
};

/// The host's memory, where a device has its own that nobody can measure.
class HostMemory : public evaluate::BandwidthProbe {
 public:
  HostMemory(core::ThreadPool& pool, std::string device)
      : BandwidthProbe(pool, evaluate::probe_bytes()), device_(std::move(device)) {}
  std::string method() const override {
    return fmt::format("{}, of the host's memory: that of {} cannot be measured", BandwidthProbe::method(), device_);
  }

 private:
  std::string device_;
};

std::unique_ptr<evaluate::MemoryProbe> memory_of(runner::ModelRunner& runner) {
  const device::DeviceName name = device::parse_device(runner.device());
  if (name.kind == device::DeviceName::Kind::kGpu) return std::make_unique<GpuMemory>(name.gpu);
  if (runner.device() == "cpu" || runner.device() == "ort-cpu") {
    return std::make_unique<evaluate::BandwidthProbe>(runner.pool(), evaluate::probe_bytes());
  }
  return std::make_unique<HostMemory>(runner.pool(), runner.device());
}

std::shared_ptr<const model::Decoder> open_measured(const ModelName& name, const SpeedOptions& options,
                                                    const Monitor& monitor) {
  return options.synthetic.empty() ? api::open_decoder(name, monitor) : make_synthetic(options.synthetic);
}

}  // namespace

Report v1::measure_speed(const ModelName& name, const SpeedOptions& options, const Monitor& monitor) {
  const auto decoder = open_measured(name, options, monitor);
  evaluate::SpeedOptions speed;
  speed.prompt_tokens = options.prompt_tokens;
  speed.generate_tokens = options.generate_tokens;
  speed.depth = choose_depth(options, decoder->spec());
  speed.repetitions = options.repetitions;
  evaluate::check_speed_options(decoder->spec(), speed, decoder->checkpoint().path.string());
  const device::RunnerOptions runner_options = api::runner_options(options.model, monitor);
  check_memory(*decoder, runner_options);
  core::ThreadPool pool(api::checked_threads(options.model.threads));
  const device::OpenedRunner opened = device::open_runner(decoder, pool, runner_options);
  if (!opened.reason.empty()) api::say(monitor, "{}", opened.reason);
  api::say(monitor, "{}", api::describe_run(*opened.runner));
  evaluate::SpeedReport report;
  report.model = decoder->checkpoint().path.string();
  report.format = decoder->checkpoint().format;
  report.arithmetic = api::describe_arithmetic(*opened.runner);
  report.device = opened.runner->device();
  report.device_description = opened.runner->device_description();
  report.cpu = core::os::cpu_name();
  report.kernels = kernels::active_kernels().name;
  report.threads = pool.size();
  report.weight_bytes = opened.runner->bytes_per_token();
  const auto memory = memory_of(*opened.runner);
  report.measurement = evaluate::measure_speed(*opened.runner, *memory, speed, monitor.on_progress, monitor.stop);
  return {api::to_text(evaluate::to_json(report)), evaluate::format_speed(report)};
}

Report v1::count_traffic(const ModelName& name, const SpeedOptions& options, const Monitor& monitor) {
  const auto decoder = open_measured(name, options, monitor);
  const device::RunnerOptions runner_options = api::runner_options(options.model, monitor);
  if (runner_options.device.kind != device::DeviceName::Kind::kGpu) {
    core::fail(core::ErrorKind::kInvalidInput,
               "device is \"{}\": what a token moves is counted on a GPU, software or not: choose gpu or gpu:0",
               options.model.device);
  }
  const int adapter = device::find_gpu(runner_options.device);
  core::ThreadPool pool(api::checked_threads(options.model.threads));
  evaluate::TrafficReport report;
  report.model = decoder->checkpoint().path.string();
  report.device = runner::list_vulkan_adapters()[static_cast<size_t>(adapter)].name;
  for (const int64_t depth : {int64_t{0}, choose_depth(options, decoder->spec())}) {
    if (!report.counts.empty() && depth == 0) continue;
    const runner::VulkanTraffic traffic =
        runner::count_vulkan_traffic(decoder, pool, device::vulkan_options(*decoder, runner_options, adapter), depth);
    report.counts.push_back(
        {depth, traffic.dispatches, traffic.weights, traffic.read, traffic.written, traffic.cache, traffic.to_host});
  }
  return {api::to_text(evaluate::to_json(report)), evaluate::format_traffic(report)};
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
