#include "checkpoint/gguf.h"
#include "core/error.h"
#include "tests/fuzz/input_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const salient::tests::InputFile file(data, size);
  try {
    const auto checkpoint = salient::checkpoint::open_gguf(file.path());
    for (const auto& [name, tensor] : checkpoint.tensors) {
      const auto& shape = tensor.view.shape;
      if (shape.size() != 2 || shape[0] * shape[1] > 1 << 20) continue;
      std::vector<float> row(shape[1]);
      checkpoint.matrix(name, shape[0], shape[1]).read_rows(shape[0] - 1, 1, row.data());
    }
  } catch (const salient::core::Error&) {
  }
  return 0;
}
