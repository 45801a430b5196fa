#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "tests/fuzz/input_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const salient::tests::InputFile file(data, size);
  try {
    std::map<std::string, salient::checkpoint::StoredTensor> tensors;
    salient::checkpoint::add_safetensors_file(file.path(), tensors);
    // What was accepted must lie inside the file.
    size_t sum = 0;
    for (const auto& [name, tensor] : tensors) {
      for (const std::byte byte : tensor.view.bytes) sum += static_cast<size_t>(byte);
    }
    return sum == SIZE_MAX;
  } catch (const salient::core::Error&) {
    return 0;
  }
}
