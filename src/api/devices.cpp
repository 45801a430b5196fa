#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <salient/salient.hpp>

#include "api/json_text.h"
#include "api/run_options.h"
#include "core/os.h"
#include "core/progress.h"
#include "device/driver_advice.h"
#include "evaluate/bandwidth.h"
#include "evaluate/speed.h"
#include "evaluate/speed_report.h"
#include "evaluate/statistics.h"
#include "evaluate/table.h"
#include "kernels/kernels.h"
#include "model/synthetic.h"
#include "runner/onnxruntime/onnxruntime_provider.h"
#include "runner/vulkan/vulkan_adapter.h"
#include "runner/vulkan/vulkan_bandwidth.h"
#include "runner/weight_bytes.h"

namespace salient {

namespace {

constexpr int kSweeps = 8;

struct Cpu {
  std::string name;
  std::string kernels;                   ///< that are used
  std::vector<std::string> kernel_sets;  ///< that run here
  int threads;
  uint64_t available_memory;
};

/// What was measured of a device's memory.
struct Measured {
  evaluate::Bandwidth reads;
  double best_copy = 0;  ///< 10^9 bytes a second, those read and those written; 0: not measured
};

struct Gpu {
  runner::VulkanAdapter adapter;
  std::optional<Measured> measured;

  std::string device() const { return fmt::format("gpu:{}", adapter.index); }
};

Cpu find_cpu(int threads) {
  Cpu cpu{core::os::cpu_name(), kernels::active_kernels().name, {}, threads, core::os::available_memory()};
  for (const char* set : kernels::kernel_names()) {
    if (kernels::find_kernels(set)) cpu.kernel_sets.push_back(set);
  }
  return cpu;
}

Measured measure_cpu(core::ThreadPool& pool) {
  evaluate::BandwidthProbe probe(pool, evaluate::probe_bytes());
  Measured measured{{probe.bytes(), probe.method(), {}}};
  probe.measure();  // warms up
  for (int i = 0; i < kSweeps; ++i) measured.reads.sweeps.push_back(probe.measure());
  return measured;
}

Measured measure_gpu(int adapter) {
  runner::VulkanBandwidthProbe probe(adapter);
  Measured measured{{probe.bytes(), "", {}}};
  probe.read();  // warms up
  for (int i = 0; i < kSweeps; ++i) {
    measured.reads.sweeps.push_back(probe.read());
    measured.best_copy = std::max(measured.best_copy, probe.copy());
  }
  return measured;
}

/// What reading memory allows for a model, if nothing else took time.
struct Limit {
  std::string model;
  uint64_t bytes_per_token;
  double tokens_per_second;
};

std::vector<Limit> limits(const evaluate::Bandwidth& bandwidth, runner::ZeroPoints zero_points) {
  std::vector<Limit> all;
  for (const std::string& name : model::synthetic_names()) {
    auto checkpoint = model::make_synthetic(name, model::synthetic_config(name));
    const model::Decoder decoder(std::make_shared<checkpoint::Checkpoint>(std::move(checkpoint)));
    const uint64_t bytes = runner::weight_bytes(decoder, runner::HeadPrecision::kStored, zero_points);
    all.push_back({name, bytes, bandwidth.best() * 1e9 / static_cast<double>(bytes)});
  }
  return all;
}

std::string format_limits(const evaluate::Bandwidth& bandwidth, runner::ZeroPoints zero_points) {
  std::vector<std::vector<std::string>> lines = {{"model, int4", "read per token", "t/s at most", "words/s at most"}};
  for (const Limit& limit : limits(bandwidth, zero_points)) {
    lines.push_back({limit.model, core::format_bytes(limit.bytes_per_token),
                     fmt::format("{:.1f}", limit.tokens_per_second),
                     fmt::format("{:.1f}", limit.tokens_per_second * evaluate::kWordsPerToken)});
  }
  return evaluate::format_markdown(lines);
}

std::string format_reads(const evaluate::Bandwidth& reads, const char* by) {
  return fmt::format("reads {:.1f} GB/s: the fastest of {} sweeps over {}{} (median {:.1f})", reads.best(), kSweeps,
                     core::format_bytes(static_cast<uint64_t>(reads.bytes)), by, evaluate::median_of(reads.sweeps));
}

std::string format(const Cpu& cpu, const std::optional<Measured>& measured) {
  std::string text = evaluate::format_markdown(
      {{"device", "name", "kernels", "threads", "free memory"},
       {"cpu", cpu.name, cpu.kernels, std::to_string(cpu.threads), core::format_bytes(cpu.available_memory)}});
  text += fmt::format("\nkernel sets that run here: {}\n", fmt::join(cpu.kernel_sets, ", "));
  if (!measured) return text;
  return text + format_reads(measured->reads, " on all threads") + "\n\n" +
         format_limits(measured->reads, runner::ZeroPoints::kByte);
}

/// The names of the abilities that a test holds for; "none" without any.
template <typename Test>
std::string names_of(const runner::VulkanAdapter& adapter, Test&& test) {
  std::vector<std::string> names;
  for (const runner::VulkanAbility& ability : adapter.abilities) {
    if (test(ability)) names.push_back(ability.name);
  }
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

std::string format(const Gpu& gpu) {
  using Ability = runner::VulkanAbility;
  const runner::VulkanAdapter& adapter = gpu.adapter;
  std::string text = fmt::format("\n{}: {}, {}\n", gpu.device(), adapter.name,
                                 adapter.is_software() ? "which is software: it runs only when it is named"
                                                       : fmt::format("a {} device", adapter.type));
  if (!adapter.refusal.empty()) text += fmt::format("  no model can run on it: {}\n", adapter.refusal);
  if (const std::string advice = device::driver_advice(adapter); !advice.empty()) text += fmt::format("  {}\n", advice);
  text += fmt::format("  features in use: {}\n  missing that could be used: {}\n  there and not used: {}\n",
                      names_of(adapter, [](const Ability& a) { return a.is_present && !a.use.empty(); }),
                      names_of(adapter, [](const Ability& a) { return !a.is_present && !a.use.empty(); }),
                      names_of(adapter, [](const Ability& a) { return a.is_present && a.use.empty(); }));
  if (!adapter.is_software()) {
    text += fmt::format(
        "  untested: no such device has run Salient's tests, the software driver of Mesa 22.3 has; "
        "among what that one lacks: {}\n",
        names_of(adapter, [](const Ability& a) { return a.is_present && !a.was_tested; }));
  } else {
    text += fmt::format("  untested, because no software driver has it: {}\n",
                        names_of(adapter, [](const Ability& a) { return !a.was_tested && !a.is_present; }));
  }
  if (!gpu.measured) return text;
  return text + "  " + format_reads(gpu.measured->reads, "") +
         fmt::format("; copies {:.1f} GB/s, read and written\n\n", gpu.measured->best_copy) +
         format_limits(gpu.measured->reads, runner::ZeroPoints::kLikeScale);
}

std::string format(const std::vector<Gpu>& gpus) {
  if (gpus.empty()) return fmt::format("\nno GPU: {}\n", runner::why_no_vulkan_adapter());
  std::vector<std::vector<std::string>> lines = {
      {"device", "name", "vendor", "kind", "memory", "free", "Vulkan", "driver"}};
  for (const Gpu& gpu : gpus) {
    lines.push_back({gpu.device(), gpu.adapter.name, gpu.adapter.vendor, gpu.adapter.type,
                     core::format_bytes(gpu.adapter.memory), core::format_bytes(gpu.adapter.available_memory),
                     gpu.adapter.api_version, gpu.adapter.driver});
  }
  std::string text = fmt::format("\n{}", evaluate::format_markdown(lines));
  for (const Gpu& gpu : gpus) text += format(gpu);
  return text;
}

std::string format(const runner::OnnxRuntimeInstallation& onnxruntime) {
  if (!onnxruntime.absence.empty()) return fmt::format("\nno ONNX Runtime: {}\n", onnxruntime.absence);
  std::vector<std::vector<std::string>> lines = {{"device", "provider"}};
  for (const auto* provider : onnxruntime.providers) lines.push_back({provider->device, provider->name});
  return fmt::format("\nONNX Runtime {}, {}: for ONNX folders of the generate() API\n{}", onnxruntime.version,
                     onnxruntime.file.string(), evaluate::format_markdown(lines));
}

std::string format_footnote() {
  return fmt::format(
      "\nat most: if reading the weights once were all there is to a token; salient bench --synthetic measures\n"
      "words/s: at {} words a token, which is assumed; a reader takes in {} a second\n",
      evaluate::kWordsPerToken, evaluate::kReaderWordsPerSecond);
}

void add_measured(nlohmann::json& object, const Measured& measured, runner::ZeroPoints zero_points) {
  object["bandwidth_best"] = measured.reads.best();
  object["bandwidth_median"] = evaluate::median_of(measured.reads.sweeps);
  object["bandwidth_bytes"] = measured.reads.bytes;
  for (const Limit& limit : limits(measured.reads, zero_points)) {
    object["limits"].push_back({{"model", limit.model},
                                {"bytes_per_token", limit.bytes_per_token},
                                {"tokens_per_second", limit.tokens_per_second}});
  }
}

nlohmann::json to_json(const Cpu& cpu, const std::optional<Measured>& measured) {
  nlohmann::json object = {{"device", "cpu"},        {"name", cpu.name},
                           {"kernels", cpu.kernels}, {"kernel_sets", cpu.kernel_sets},
                           {"threads", cpu.threads}, {"available_memory", cpu.available_memory}};
  if (measured) add_measured(object, *measured, runner::ZeroPoints::kByte);
  return object;
}

nlohmann::json to_json(const Gpu& gpu) {
  const runner::VulkanAdapter& adapter = gpu.adapter;
  nlohmann::json features = nlohmann::json::array();
  for (const runner::VulkanAbility& ability : adapter.abilities) {
    features.push_back({{"name", ability.name},
                        {"present", ability.is_present},
                        {"use", ability.use.empty() ? nlohmann::json() : nlohmann::json(ability.use)},
                        {"tested", ability.use.empty() ? nlohmann::json() : nlohmann::json(ability.was_tested)}});
  }
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::json() : nlohmann::json(text);
  };
  nlohmann::json object = {{"device", gpu.device()},
                           {"name", adapter.name},
                           {"vendor", adapter.vendor},
                           {"kind", adapter.type},
                           {"driver", adapter.driver},
                           {"vulkan", adapter.api_version},
                           {"memory", adapter.memory},
                           {"available_memory", adapter.available_memory},
                           {"features", std::move(features)},
                           {"refusal", text_or_null(adapter.refusal)},
                           {"driver_advice", text_or_null(device::driver_advice(adapter))}};
  if (gpu.measured) {
    add_measured(object, *gpu.measured, runner::ZeroPoints::kLikeScale);
    object["copy_bandwidth_best"] = gpu.measured->best_copy;
  }
  return object;
}

nlohmann::json to_json(const runner::OnnxRuntimeProvider& provider,
                       const runner::OnnxRuntimeInstallation& onnxruntime) {
  return {{"device", provider.device},
          {"name", provider.name},
          {"onnxruntime", onnxruntime.version},
          {"library", onnxruntime.file.string()}};
}

}  // namespace

Report v1::list_devices(const DeviceOptions& options) {
  core::ThreadPool pool(api::checked_threads(options.threads));
  const Cpu cpu = find_cpu(pool.size());
  std::optional<Measured> cpu_memory;
  if (options.measure) cpu_memory = measure_cpu(pool);
  std::vector<Gpu> gpus;
  for (const runner::VulkanAdapter& adapter : runner::list_vulkan_adapters()) {
    Gpu& gpu = gpus.emplace_back(Gpu{adapter, {}});
    if (options.measure && adapter.refusal.empty()) gpu.measured = measure_gpu(adapter.index);
  }
  nlohmann::json json = nlohmann::json::array({to_json(cpu, cpu_memory)});
  for (const Gpu& gpu : gpus) json.push_back(to_json(gpu));
  const runner::OnnxRuntimeInstallation onnxruntime = runner::find_onnxruntime();
  for (const auto* provider : onnxruntime.providers) json.push_back(to_json(*provider, onnxruntime));
  return {api::to_text(json),
          format(cpu, cpu_memory) + format(gpus) + (options.measure ? format_footnote() : "") + format(onnxruntime)};
}

}  // namespace salient
