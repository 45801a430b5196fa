#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <salient/salient.hpp>

#include "api/json_text.h"
#include "api/run_options.h"
#include "core/os.h"
#include "core/progress.h"
#include "evaluate/bandwidth.h"
#include "evaluate/speed.h"
#include "evaluate/speed_report.h"
#include "evaluate/statistics.h"
#include "evaluate/table.h"
#include "kernels/kernels.h"
#include "model/synthetic.h"

namespace salient {

namespace {

constexpr int kSweeps = 8;

/// The one device there is so far.
struct Cpu {
  std::string name;
  std::string kernels;                   ///< that are used
  std::vector<std::string> kernel_sets;  ///< that run here
  int threads;
  uint64_t available_memory;
};

Cpu find_cpu(int threads) {
  Cpu cpu{core::os::cpu_name(), kernels::active_kernels().name, {}, threads, core::os::available_memory()};
  for (const char* set : kernels::kernel_names()) {
    if (kernels::find_kernels(set)) cpu.kernel_sets.push_back(set);
  }
  return cpu;
}

evaluate::Bandwidth measure(core::ThreadPool& pool) {
  evaluate::BandwidthProbe probe(pool, evaluate::probe_bytes());
  evaluate::Bandwidth bandwidth{probe.bytes(), {}};
  probe.measure();  // warms up
  for (int i = 0; i < kSweeps; ++i) bandwidth.sweeps.push_back(probe.measure());
  return bandwidth;
}

/// What reading memory allows for a model, if nothing else took time.
struct Limit {
  std::string model;
  uint64_t bytes_per_token;
  double tokens_per_second;
};

std::vector<Limit> limits(const evaluate::Bandwidth& bandwidth) {
  std::vector<Limit> all;
  for (const std::string& name : model::synthetic_names()) {
    auto checkpoint = model::make_synthetic(name, model::synthetic_config(name));
    const model::Decoder decoder(std::make_shared<checkpoint::Checkpoint>(std::move(checkpoint)));
    const uint64_t bytes = api::resident_bytes(decoder, runner::HeadPrecision::kStored);
    all.push_back({name, bytes, bandwidth.best() * 1e9 / static_cast<double>(bytes)});
  }
  return all;
}

std::string format(const Cpu& cpu, const std::optional<evaluate::Bandwidth>& bandwidth) {
  std::string text = evaluate::format_markdown(
      {{"device", "name", "kernels", "threads", "free memory"},
       {"cpu", cpu.name, cpu.kernels, std::to_string(cpu.threads), core::format_bytes(cpu.available_memory)}});
  text += fmt::format("\nkernel sets that run here: {}\n", fmt::join(cpu.kernel_sets, ", "));
  if (!bandwidth) return text;
  text += fmt::format("reads {:.1f} GB/s: the fastest of {} sweeps over {} on all threads (median {:.1f})\n\n",
                      bandwidth->best(), kSweeps, core::format_bytes(static_cast<uint64_t>(bandwidth->bytes)),
                      evaluate::median_of(bandwidth->sweeps));
  std::vector<std::vector<std::string>> lines = {{"model, int4", "read per token", "t/s at most", "words/s at most"}};
  for (const Limit& limit : limits(*bandwidth)) {
    lines.push_back({limit.model, core::format_bytes(limit.bytes_per_token),
                     fmt::format("{:.1f}", limit.tokens_per_second),
                     fmt::format("{:.1f}", limit.tokens_per_second * evaluate::kWordsPerToken)});
  }
  return text + evaluate::format_markdown(lines) +
         fmt::format(
             "\nat most: if reading the weights once were all there is to a token; salient bench --synthetic measures\n"
             "words/s: at {} words a token, which is assumed; a reader takes in {} a second\n",
             evaluate::kWordsPerToken, evaluate::kReaderWordsPerSecond);
}

nlohmann::json to_json(const Cpu& cpu, const std::optional<evaluate::Bandwidth>& bandwidth) {
  nlohmann::json object = {{"device", "cpu"},        {"name", cpu.name},
                           {"kernels", cpu.kernels}, {"kernel_sets", cpu.kernel_sets},
                           {"threads", cpu.threads}, {"available_memory", cpu.available_memory}};
  if (bandwidth) {
    object["bandwidth_best"] = bandwidth->best();
    object["bandwidth_median"] = evaluate::median_of(bandwidth->sweeps);
    object["bandwidth_bytes"] = bandwidth->bytes;
    for (const Limit& limit : limits(*bandwidth)) {
      object["limits"].push_back({{"model", limit.model},
                                  {"bytes_per_token", limit.bytes_per_token},
                                  {"tokens_per_second", limit.tokens_per_second}});
    }
  }
  return nlohmann::json::array({std::move(object)});
}

}  // namespace

Report v1::list_devices(const DeviceOptions& options) {
  core::ThreadPool pool(api::checked_threads(options.threads));
  const Cpu cpu = find_cpu(pool.size());
  std::optional<evaluate::Bandwidth> bandwidth;
  if (options.measure) bandwidth = measure(pool);
  return {api::to_text(to_json(cpu, bandwidth)), format(cpu, bandwidth)};
}

}  // namespace salient
