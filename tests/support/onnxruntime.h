#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/support/environment.h"

namespace salient::tests {

/// Points Salient to the library of pip's onnxruntime in .venv, unless SALIENT_ONNXRUNTIME names another. Returns why
/// there is none, or nothing.
inline std::string no_onnxruntime() {
  if (std::getenv("SALIENT_ONNXRUNTIME")) return {};
  const std::filesystem::path packages = std::filesystem::path(SALIENT_SOURCE_DIR) / ".venv/lib";
  std::error_code error;
  for (const auto& python : std::filesystem::directory_iterator(packages, error)) {
    const auto folder = python.path() / "site-packages/onnxruntime/capi";
    if (!std::filesystem::exists(folder)) continue;
    set_environment("SALIENT_ONNXRUNTIME", folder.string().c_str());
    return {};
  }
  return "there is no onnxruntime in .venv: scripts/setup --tests";
}

/// An ONNX file with one node, y = -x, of vectors of one fp32 number, spelled out.
inline std::string negating_graph() {
  using namespace std::string_literals;
  const auto value = [](char name) { return "\x0a\x01"s + name + "\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01"; };
  const std::string node = "\x0a\x01x\x12\x01y\x22\x03Neg";
  const std::string graph = "\x0a\x0b" + node + "\x12\x01g" + "\x5a\x0f" + value('x') + "\x62\x0f" + value('y');
  return "\x08\x08"  // the version of the format
         "\x3a\x32" +
         graph + "\x42\x02\x10\x0d";  // and of the operators
}

}  // namespace salient::tests
