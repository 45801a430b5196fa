#include "runner/onnxruntime/onnxruntime_provider.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

#include "runner/onnxruntime/dxgi_adapters.h"

namespace salient::runner {

namespace {

using core::ErrorKind;
using core::fail;

constexpr OnnxRuntimeProvider kProviders[] = {
    {"ort-cpu", "CPUExecutionProvider", "CPU", "onnxruntime"},
    {"webgpu", "WebGpuExecutionProvider", "WebGPU", "onnxruntime-webgpu"},
    {"dml", "DmlExecutionProvider", "DML", "onnxruntime-directml"},
    {"cuda", "CUDAExecutionProvider", "CUDA", "onnxruntime-gpu"},
    {"openvino", "OpenVINOExecutionProvider", "OpenVINO", "onnxruntime-openvino"},
    {"coreml", "CoreMLExecutionProvider", "CoreML", "onnxruntime"},
};

/// Options of the generate() API that replay recorded commands, which take buffers of fixed sizes: this runner does not
/// replay, and results are the same.
constexpr std::string_view kCaptureOptions[] = {"enable_graph_capture", "enableGraphCapture", "enable_cuda_graph"};

using Options = std::map<std::string, std::string>;

/// What functions that take lists of keys and values are given.
struct OptionLists {
  explicit OptionLists(const Options& options) {
    for (const auto& [key, value] : options) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
  }
  std::vector<const char*> keys;
  std::vector<const char*> values;
};

void append_cuda(const ort::Library& library, ort::SessionOptions* session_options, const Options& options) {
  const OptionLists lists(options);
  ort::CudaOptionsHandle cuda(library);
  library.check(library.api().create_cuda_options(cuda.out()), "cuda", ErrorKind::kUnsupported);
  library.check(
      library.api().update_cuda_options(cuda.get(), lists.keys.data(), lists.values.data(), lists.keys.size()),
      "cuda: its provider_options of genai_config.json", ErrorKind::kUnsupported);
  library.check(library.api().append_cuda(session_options, cuda.get()), "cuda", ErrorKind::kUnsupported);
}

/// The place of an adapter in the order of DXGI.
int adapter_of_luid(const std::string& luid) {
  const std::vector<ort::DxgiAdapter> adapters = ort::dxgi_adapters();
  const auto found = std::ranges::find(adapters, luid, &ort::DxgiAdapter::luid);
  if (found != adapters.end()) return static_cast<int>(found - adapters.begin());
  std::vector<std::string> there;
  for (const ort::DxgiAdapter& adapter : adapters) there.push_back(fmt::format("{} ({})", adapter.luid, adapter.name));
  fail(ErrorKind::kUnsupported, "genai_config.json: the option luid of dml is \"{}\": the adapters here are {}", luid,
       there.empty() ? "none" : fmt::to_string(fmt::join(there, ", ")));
}

/// The adapter that options name, in the order of DXGI; 0, the system's first, where they name none.
int dml_adapter(const Options& options) {
  int adapter = 0;
  for (const auto& [key, value] : options) {
    if (key == "luid") {
      adapter = adapter_of_luid(value);
      continue;
    }
    const char* end = value.data() + value.size();
    const auto [rest, error] = std::from_chars(value.data(), end, adapter);
    const bool is_index = key == "device_index" || key == "device_id";
    if (is_index && error == std::errc() && rest == end && adapter >= 0) continue;
    fail(
        ErrorKind::kUnsupported,
        "genai_config.json: the option {} of dml is \"{}\": the options that are known are device_index and device_id, "
        "0, 1, ..., and luid, \"high:low\"",
        key, value);
  }
  return adapter;
}

/// As onnxruntime-genai runs it: without memory patterns, one node after the other.
void append_dml(const ort::Library& library, ort::SessionOptions* session_options, const Options& options) {
  constexpr const char* kFunction = "OrtSessionOptionsAppendExecutionProvider_DML";
  auto* append = reinterpret_cast<ort::Status* (*)(ort::SessionOptions*, int)>(library.find_function(kFunction));
  if (!append) fail(ErrorKind::kUnsupported, "{} has no function {}", library.file().string(), kFunction);
  const int adapter = dml_adapter(options);
  library.check(library.api().disable_memory_pattern(session_options), "dml");
  library.check(library.api().set_session_execution_mode(session_options, ort::kSequential), "dml");
  library.check(append(session_options, adapter), fmt::format("dml, adapter {}", adapter), ErrorKind::kUnsupported);
}

}  // namespace

bool OnnxRuntimeProvider::is_directml() const {
  return std::string_view(device) == "dml";
}

std::span<const OnnxRuntimeProvider> onnxruntime_providers() {
  return kProviders;
}

const OnnxRuntimeProvider* find_onnxruntime_provider(const std::string& device) {
  const auto* provider = std::find_if(std::begin(kProviders), std::end(kProviders),
                                      [&](const OnnxRuntimeProvider& known) { return device == known.device; });
  return provider == std::end(kProviders) ? nullptr : provider;
}

OnnxRuntimeInstallation find_onnxruntime() {
  try {
    const ort::Library& library = ort::library();
    OnnxRuntimeInstallation found{library.version(), library.file(), {}, {}};
    const std::vector<std::string> names = library.providers();
    for (const OnnxRuntimeProvider& provider : kProviders) {
      if (std::find(names.begin(), names.end(), provider.name) != names.end()) found.providers.push_back(&provider);
    }
    return found;
  } catch (const core::Error& error) {
    return {{}, {}, {}, error.what()};
  }
}

void ort::append_provider(const Library& library, SessionOptions* session_options, const OnnxRuntimeProvider& provider,
                          const std::map<std::string, std::string>& all_options) {
  const std::vector<std::string> there = library.providers();
  if (std::find(there.begin(), there.end(), provider.name) == there.end()) {
    fail(ErrorKind::kUnsupported, "{}: ONNX Runtime {} ({}) has no {}, it has {}: pip install {}, and name it in {}",
         provider.device, library.version(), library.file().string(), provider.name, fmt::join(there, " and "),
         provider.package, kLibraryVariable);
  }
  Options options = all_options;
  for (const std::string_view key : kCaptureOptions) options.erase(std::string(key));
  const std::string_view device = provider.device;
  if (device == "ort-cpu") return;  // it is always there, and has no options
  if (device == "cuda") return append_cuda(library, session_options, options);
  if (provider.is_directml()) return append_dml(library, session_options, options);
  const OptionLists lists(options);
  library.check(library.api().append_provider(session_options, provider.registered, lists.keys.data(),
                                              lists.values.data(), lists.keys.size()),
                provider.device, ErrorKind::kUnsupported);
}

}  // namespace salient::runner
