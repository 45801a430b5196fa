#pragma once

#include <memory>
#include <string>

#include "core/progress.h"
#include "core/thread_pool.h"
#include "device/device_name.h"
#include "model/decoder.h"
#include "runner/cpu_runner.h"
#include "runner/model_runner.h"
#include "runner/onnxruntime/onnxruntime_runner.h"
#include "runner/vulkan/vulkan_runner.h"

namespace salient::device {

/// How a model is run, whatever the device.
struct RunnerOptions {
  DeviceName device = {};
  runner::HeadPrecision head = runner::HeadPrecision::kStored;
  /// Of keys and values: kF16 or kI8.
  core::DType kv_dtype = core::DType::kF16;
  /// Nothing is rounded that the model does not store so: activations are in fp32 (as they are where the model's format
  /// asks for it) and, but for kI8, keys and values too, which a GPU holds in fp16 all the same.
  bool exact = false;
  /// Tokens that a text may have; 0: what the model was trained for. A provider of ONNX Runtime keeps the keys and
  /// values of a text in one piece, which grows up to that.
  int64_t context = 0;
  runner::Residency residency = runner::Residency::kResident;  ///< on the CPU
  core::ThreadPool* packing_pool = nullptr;                    ///< as CpuRunnerOptions has it
  core::ProgressCallback progress = {};
};

/// A model on its device.
struct OpenedRunner {
  std::unique_ptr<runner::ModelRunner> runner;
  std::string reason;  ///< why it is that device, in a sentence, where the choice was left to us; else empty
};

/// Puts a model on the device that was named. "auto" is the GPU that "gpu" would be, if there is one and the model can
/// run there and fits, else the CPU. `pool` must outlive the runner. Throws unsupported or not_found without such a
/// device, unsupported for what it cannot do, out_of_memory for a model that does not fit: a named device is never
/// replaced by another.
OpenedRunner open_runner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                         const RunnerOptions& options);

/// The options of a model on a GPU. SALIENT_VULKAN_FEATURES, where it is set, lists what the shaders may use, of
/// "subgroups", "integer_dot" and "int8_activations", or is "none". Throws invalid_input for another word.
runner::VulkanRunnerOptions vulkan_options(const model::Decoder& decoder, const RunnerOptions& options, int adapter);

/// The adapter that "gpu" or "gpu:1" names. Throws unsupported or not_found, with what there is.
int find_gpu(const DeviceName& name);

}  // namespace salient::device
