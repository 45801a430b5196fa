#include "core/quantized_tensor.h"

#include "core/tensor.h"

namespace salient::core {

void QuantizedTensor::dequantize_rows(int64_t first, int64_t count, float* out) const {
  const int64_t row_groups = groups();
  for (int64_t row = first; row < first + count; ++row) {
    for (int64_t group = 0; group < row_groups; ++group) {
      const float scale = scales[row * row_groups + group];
      const int zero = zeros[row * row_groups + group];
      const uint8_t* code = codes.data() + row * in_features + group * group_size;
      for (int i = 0; i < group_size; ++i) *out++ = static_cast<float>(int{code[i]} - zero) * scale;
    }
  }
}

int64_t LinearWeights::out_features() const {
  return std::visit([](const auto& m) { return m.out_features; }, matrix);
}

int64_t LinearWeights::in_features() const {
  return std::visit([](const auto& m) { return m.in_features; }, matrix);
}

void LinearWeights::read_rows(int64_t first, int64_t count, float* out) const {
  if (const auto* dense = std::get_if<DenseMatrix>(&matrix)) {
    dense->read_rows(first, count, out);
  } else {
    std::get<QuantizedTensor>(matrix).dequantize_rows(first, count, out);
  }
}

}  // namespace salient::core
