#include "device/device_name.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

#include "core/error.h"

namespace salient::device {

DeviceName parse_device(const std::string& text) {
  constexpr std::string_view kGpu = "gpu:";
  if (text == "cpu") return {DeviceName::Kind::kCpu};
  if (text == "auto") return {DeviceName::Kind::kAuto};
  if (text == "gpu") return {DeviceName::Kind::kGpu};
  if (text.starts_with(kGpu)) {
    int index = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + kGpu.size(), end, index);
    if (error == std::errc() && rest == end && index >= 0) return {DeviceName::Kind::kGpu, index};
  }
  if (const auto* provider = runner::find_onnxruntime_provider(text)) {
    return {.kind = DeviceName::Kind::kOnnxRuntime, .provider = provider};
  }
  std::string providers;
  for (const auto& provider : runner::onnxruntime_providers()) providers += fmt::format(", {}", provider.device);
  core::fail(core::ErrorKind::kInvalidInput, "device is \"{}\", expected cpu, gpu, gpu:0, gpu:1, ..., auto{}", text,
             providers);
}

std::string to_string(const DeviceName& name) {
  switch (name.kind) {
    case DeviceName::Kind::kCpu:
      return "cpu";
    case DeviceName::Kind::kAuto:
      return "auto";
    case DeviceName::Kind::kOnnxRuntime:
      return name.provider->device;
    case DeviceName::Kind::kGpu:
      break;
  }
  return name.gpu == DeviceName::kBestGpu ? "gpu" : "gpu:" + std::to_string(name.gpu);
}

}  // namespace salient::device
