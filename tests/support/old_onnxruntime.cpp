#include <cstdint>

/// A library that is ONNX Runtime of a version that has no table for us.
struct OrtApiBase {
  void* const* (*get_api)(uint32_t version);
  const char* (*get_version)();
};

extern "C" const OrtApiBase* OrtGetApiBase() {
  static const OrtApiBase base = {[](uint32_t) -> void* const* { return nullptr; }, [] { return "1.17.3"; }};
  return &base;
}
