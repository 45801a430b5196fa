#include "device/open_runner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sstream>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/os.h"

namespace salient::device {

namespace {

constexpr const char* kFeaturesVariable = "SALIENT_VULKAN_FEATURES";

/// "gpu:0 is llvmpipe, a software device; gpu:1 is ...".
std::string describe_adapters(const std::vector<runner::VulkanAdapter>& adapters) {
  if (adapters.empty()) return runner::why_no_vulkan_adapter();
  std::vector<std::string> all;
  for (const runner::VulkanAdapter& adapter : adapters) {
    all.push_back(adapter.refusal.empty()
                      ? fmt::format("gpu:{} is {}, a {} device", adapter.index, adapter.name, adapter.type)
                      : adapter.refusal);
  }
  return fmt::format("{}", fmt::join(all, "; "));
}

runner::Activations activations_of(const model::Decoder& decoder, const RunnerOptions& options) {
  return options.exact || decoder.checkpoint().float_activations ? runner::Activations::kFp32
                                                                 : runner::Activations::kInt8;
}

std::unique_ptr<runner::ModelRunner> open_on_cpu(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                                                 const RunnerOptions& options) {
  runner::CpuRunnerOptions cpu{.activations = activations_of(*decoder, options),
                               .residency = options.residency,
                               .kv_dtype = options.kv_dtype,
                               .head = options.head,
                               .packing_pool = options.packing_pool,
                               .progress = options.progress};
  if (options.exact && options.kv_dtype == core::DType::kF16) cpu.kv_dtype = core::DType::kF32;
  return std::make_unique<runner::CpuRunner>(std::move(decoder), pool, std::move(cpu));
}

std::unique_ptr<runner::ModelRunner> open_on_gpu(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                                                 const RunnerOptions& options, int adapter) {
  const auto gpu = vulkan_options(*decoder, options, adapter);
  return runner::make_vulkan_runner(std::move(decoder), pool, gpu);
}

std::unique_ptr<runner::ModelRunner> open_in_onnxruntime(std::shared_ptr<const model::Decoder> decoder,
                                                         core::ThreadPool& pool, const RunnerOptions& options) {
  return std::make_unique<runner::OnnxRuntimeRunner>(
      std::move(decoder), pool,
      runner::OnnxRuntimeRunnerOptions{.provider = options.device.provider,
                                       .kv_dtype = options.kv_dtype,
                                       .head = options.head,
                                       .exact = options.exact,
                                       .context = options.context,
                                       .progress = options.progress});
}

OpenedRunner choose_device(const std::shared_ptr<const model::Decoder>& decoder, core::ThreadPool& pool,
                           const RunnerOptions& options) {
  const auto adapters = runner::list_vulkan_adapters();
  const int best = runner::choose_vulkan_adapter(adapters);
  if (best < 0) {
    return {open_on_cpu(decoder, pool, options),
            fmt::format("device auto: the CPU, because there is no GPU: {}", describe_adapters(adapters))};
  }
  try {
    auto opened = open_on_gpu(decoder, pool, options, best);
    const auto& adapter = adapters[static_cast<size_t>(best)];
    return {std::move(opened), fmt::format("device auto: gpu:{}, a {} GPU that the model fits", best, adapter.type)};
  } catch (const core::Error& error) {
    if (error.kind() != core::ErrorKind::kUnsupported && error.kind() != core::ErrorKind::kOutOfMemory) throw;
    return {open_on_cpu(decoder, pool, options), fmt::format("device auto: the CPU, because: {}", error.what())};
  }
}

}  // namespace

int find_gpu(const DeviceName& name) {
  const auto adapters = runner::list_vulkan_adapters();
  if (name.gpu != DeviceName::kBestGpu) {
    if (name.gpu < std::ssize(adapters)) return name.gpu;
    core::fail(core::ErrorKind::kNotFound, "there is no gpu:{}: {}", name.gpu, describe_adapters(adapters));
  }
  const int best = runner::choose_vulkan_adapter(adapters);
  if (best >= 0) return best;
  core::fail(core::ErrorKind::kUnsupported, "there is no GPU here: {}{}", describe_adapters(adapters),
             adapters.empty() ? "" : "; it runs only when it is named");
}

runner::VulkanRunnerOptions vulkan_options(const model::Decoder& decoder, const RunnerOptions& options, int adapter) {
  runner::VulkanRunnerOptions result{
      .adapter = adapter, .kv_dtype = options.kv_dtype, .head = options.head, .progress = options.progress};
  const std::string listed = core::os::environment(kFeaturesVariable);
  if (!listed.empty()) {
    result.features = {false, false};
    result.activations = runner::Activations::kFp32;
    std::istringstream stream(listed);
    for (std::string word; std::getline(stream, word, ',');) {
      if (word == "subgroups") {
        result.features.subgroups = true;
      } else if (word == "integer_dot") {
        result.features.integer_dot = true;
      } else if (word == "int8_activations") {
        result.activations = runner::Activations::kInt8;
      } else if (word != "none") {
        core::fail(core::ErrorKind::kInvalidInput,
                   "{} has \"{}\", expected some of subgroups, integer_dot and int8_activations, or none",
                   kFeaturesVariable, word);
      }
    }
  }
  if (activations_of(decoder, options) == runner::Activations::kFp32) {
    result.activations = runner::Activations::kFp32;
  }
  return result;
}

OpenedRunner open_runner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                         const RunnerOptions& options) {
  switch (options.device.kind) {
    case DeviceName::Kind::kAuto:
      return choose_device(decoder, pool, options);
    case DeviceName::Kind::kGpu:
      return {open_on_gpu(std::move(decoder), pool, options, find_gpu(options.device)), ""};
    case DeviceName::Kind::kOnnxRuntime:
      return {open_in_onnxruntime(std::move(decoder), pool, options), ""};
    case DeviceName::Kind::kCpu:
      break;
  }
  return {open_on_cpu(std::move(decoder), pool, options), ""};
}

}  // namespace salient::device
