#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runner/onnxruntime/ort_library.h"

namespace salient::runner {

/// An execution provider of ONNX Runtime that can run models.
struct OnnxRuntimeProvider {
  const char* device;      ///< as `--device` names it
  const char* name;        ///< as the library lists it
  const char* registered;  ///< as the library's functions and genai_config.json name it, upper case or lower
  const char* package;     ///< of pip, whose library has it

  /// DirectML's attention leaves out, without saying so, some of what its operator can be asked for: windows, soft
  /// caps, and several tokens that follow others.
  bool is_directml() const;
};

/// ort-cpu, webgpu, dml, cuda, openvino and coreml.
std::span<const OnnxRuntimeProvider> onnxruntime_providers();

/// The provider of a device; null for another word.
const OnnxRuntimeProvider* find_onnxruntime_provider(const std::string& device);

/// ONNX Runtime as it is installed here.
struct OnnxRuntimeInstallation {
  std::string version;
  std::filesystem::path file;
  std::vector<const OnnxRuntimeProvider*> providers;  ///< of ours, those that the library has
  std::string absence;                                ///< why there is none; else empty
};
OnnxRuntimeInstallation find_onnxruntime();

namespace ort {

/// Makes a session run on a provider, as options of genai_config.json ask for. Throws unsupported where the library
/// does not have it, or for an option that is not understood.
void append_provider(const Library& library, SessionOptions* session_options, const OnnxRuntimeProvider& provider,
                     const std::map<std::string, std::string>& options);

}  // namespace ort

}  // namespace salient::runner
