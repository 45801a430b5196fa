// What concerns the whole process. This library logs nothing and sends nothing anywhere, so most of it is taken in and
// has no effect.
#include <algorithm>
#include <array>
#include <atomic>

#include "oga/result.h"

using salient::oga::fail;
using salient::oga::guard;
using salient::oga::require;

namespace {

constexpr std::array kLogSwitches = {"enabled",
                                     "ansi_tags",
                                     "warning",
                                     "generate_next_token",
                                     "append_next_tokens",
                                     "hit_eos",
                                     "hit_max_length",
                                     "model_input_values",
                                     "model_output_shapes",
                                     "model_output_values",
                                     "model_logits",
                                     "ort_lib",
                                     "value_stats"};

std::atomic<int> gpu_device = 0;

}  // namespace

OGA_EXPORT void OgaShutdown() {}
OGA_EXPORT void OgaSetTelemetryEnabled(bool) {}
OGA_EXPORT OgaResult* OgaSetLogBool(const char* name, bool) {
  return guard([&] {
    const std::string_view wanted = &require(name, "name");
    if (std::find(kLogSwitches.begin(), kLogSwitches.end(), wanted) == kLogSwitches.end()) {
      fail("there is no log option \"" + std::string(wanted) + "\"");
    }
  });
}
OGA_EXPORT OgaResult* OgaSetLogString(const char* name, const char*) {
  return guard([&] {
    const std::string_view wanted = &require(name, "name");
    if (wanted != "filename") fail("there is no log option \"" + std::string(wanted) + "\" with a text");
  });
}
OGA_EXPORT OgaResult* OgaSetLogCallback(void (*)(const char*, size_t)) {
  return nullptr;
}
OGA_EXPORT OgaResult* OgaSetCurrentGpuDeviceId(int device) {
  gpu_device = device;
  return nullptr;
}
OGA_EXPORT OgaResult* OgaGetCurrentGpuDeviceId(int* out) {
  return guard([&] { require(out, "device_id") = gpu_device; });
}
/// Other providers' libraries are not loaded: a model that asks for their provider is refused.
OGA_EXPORT void OgaRegisterExecutionProviderLibrary(const char*, const char*) {}
OGA_EXPORT void OgaUnregisterExecutionProviderLibrary(const char*) {}
