// Seeds for the fuzzer of ONNX graphs: the graph of the reader's tests, and variants of it.
//   make_onnx_corpus FOLDER
#include "tests/checkpoint/onnx_builder.h"

using namespace salient::tests;

int main(int, char** arguments) {
  const std::filesystem::path folder = arguments[1];
  std::filesystem::create_directories(folder);
  const DecoderGraph graph;
  write_text(folder / "seed-plain", graph.model());
  DecoderGraph external;
  for (BuiltTensor& tensor : external.tensors) {
    if (tensor.raw.size() < 256) continue;
    tensor.external = {
        {"location", "model.onnx.data"}, {"offset", "128"}, {"length", std::to_string(tensor.raw.size())}};
    tensor.raw.clear();
  }
  write_text(folder / "seed-external", external.model());
  DecoderGraph tied;
  tied.node("/head") = {"com.microsoft.FusedMatMul", "/head", {"c", "embed"}, {"logits"}, {{"transB", int64_t{1}}}};
  write_text(folder / "seed-tied", tied.model());
}
