#include <fstream>

#include "checkpoint/onnx.h"
#include "core/error.h"
#include "tests/checkpoint/onnx_builder.h"

namespace {

/// A folder whose model.onnx the inputs become, one after the other: external data is looked for beside the graph.
const std::filesystem::path& folder() {
  static const salient::tests::TemporaryFolder folder;
  static const bool written = [] {
    salient::tests::write_onnx_folder(folder.path(), salient::tests::DecoderGraph(), salient::tests::genai_config());
    salient::tests::write_text(folder.path() / "model.onnx.data", std::string(4096, '\x38'));
    return true;
  }();
  static_cast<void>(written);
  return folder.path();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::ofstream(folder() / "model.onnx", std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    const auto checkpoint = salient::checkpoint::open_onnx_folder(folder());
    for (const auto& [name, linear] : checkpoint.quantized) {
      if (linear.out_features * linear.in_features <= 1 << 20) linear.read();
    }
    for (const auto& [name, matrix] : checkpoint.matrices) {
      if (matrix.out_features * matrix.in_features > 1 << 20) continue;
      std::vector<float> row(static_cast<size_t>(matrix.in_features));
      matrix.read_rows(matrix.out_features - 1, 1, row.data());
    }
  } catch (const salient::core::Error&) {
  }
  return 0;
}
