#pragma once

#include <string>

#include "runner/onnxruntime/onnxruntime_provider.h"

namespace salient::device {

/// A device as a person names it.
struct DeviceName {
  enum class Kind { kCpu, kGpu, kAuto, kOnnxRuntime };
  Kind kind = Kind::kCpu;
  int gpu = kBestGpu;                                     ///< VulkanAdapter::index
  const runner::OnnxRuntimeProvider* provider = nullptr;  ///< with kOnnxRuntime

  static constexpr int kBestGpu = -1;
};

/// "cpu", "gpu" (the best one that is no software), "gpu:1", "auto", or a provider of ONNX Runtime: "ort-cpu",
/// "webgpu", "dml", "cuda", "openvino" or "coreml". Throws invalid_input for another word.
DeviceName parse_device(const std::string& text);

/// As parse_device reads it.
std::string to_string(const DeviceName& name);

}  // namespace salient::device
