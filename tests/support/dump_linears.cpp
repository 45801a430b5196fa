// dump_linears MODEL OUTPUT: writes what Salient makes of the linears of every layer, dequantized to fp32, as a
// safetensors file, so that a test in another language can compare them with its own reading.

#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <vector>

#include "checkpoint/safetensors_writer.h"
#include "model/decoder.h"

namespace {

using salient::checkpoint::OutputTensor;

OutputTensor dequantized(const std::string& name, const salient::core::LinearWeights& weights) {
  const int64_t rows = weights.out_features();
  const int64_t columns = weights.in_features();
  std::vector<float> values(static_cast<size_t>(rows * columns));
  weights.read_rows(0, rows, values.data());
  OutputTensor tensor{name, salient::core::DType::kF32, {rows, columns}, std::vector<std::byte>(values.size() * 4)};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

void dump(const char* model, const char* output) {
  const salient::model::Decoder decoder(
      std::make_shared<salient::checkpoint::Checkpoint>(salient::checkpoint::open_checkpoint(model)));
  std::vector<OutputTensor> tensors;
  for (int64_t i = 0; i < decoder.spec().layers; ++i) {
    const salient::model::DecoderLayer layer = decoder.layer(i);
    for (const auto& slot : salient::model::linear_slots(decoder.spec())) {
      tensors.push_back(dequantized(salient::model::layer_prefix(i) + slot.name, layer.*slot.weights));
    }
  }
  salient::checkpoint::write_safetensors(output, tensors);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: dump_linears MODEL OUTPUT\n";
    return 2;
  }
  try {
    dump(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << "dump_linears: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
