#include "core/quantized_tensor.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "core/tensor.h"

namespace salient::core {

void QuantizedTensor::dequantize_rows(int64_t first, int64_t count, float* out) const {
  const int64_t row_groups = groups();
  for (int64_t row = first; row < first + count; ++row, out += in_features) {
    for (int64_t column = 0; column < in_features; ++column) {
      const int64_t group = row * row_groups + column / group_size;
      const int code = codes[row * in_features + column];
      const float value = zeros.empty() ? static_cast<float>(code) * scales[group] + offsets[group]
                                        : static_cast<float>(code - int{zeros[group]}) * scales[group];
      out[column_input.empty() ? column : column_input[column]] = value;
    }
  }
}

QuantizedTensor QuantizedTensor::rows(int64_t first, int64_t count) const {
  const auto part = [&]<typename T>(const std::vector<T>& all, int64_t row_size) {
    if (all.empty()) return std::vector<T>();
    return std::vector<T>(all.begin() + first * row_size, all.begin() + (first + count) * row_size);
  };
  return {.out_features = count,
          .in_features = in_features,
          .bits = bits,
          .group_size = group_size,
          .codes = part(codes, in_features),
          .scales = part(scales, groups()),
          .zeros = part(zeros, groups()),
          .offsets = part(offsets, groups()),
          .column_input = column_input};
}

void QuantizedTensor::append_rows(const QuantizedTensor& other) {
  out_features += other.out_features;
  codes.insert(codes.end(), other.codes.begin(), other.codes.end());
  scales.insert(scales.end(), other.scales.begin(), other.scales.end());
  zeros.insert(zeros.end(), other.zeros.begin(), other.zeros.end());
  offsets.insert(offsets.end(), other.offsets.begin(), other.offsets.end());
}

void QuantizedTensor::split_groups(int size) {
  const int parts = group_size / size;
  if (parts == 1) return;
  const auto repeat = [&]<typename T>(std::vector<T>& values) {
    std::vector<T> repeated;
    repeated.reserve(values.size() * parts);
    for (const T value : values) repeated.insert(repeated.end(), parts, value);
    values = std::move(repeated);
  };
  repeat(scales);
  repeat(zeros);
  repeat(offsets);
  group_size = size;
}

int64_t LinearWeights::out_features() const {
  return std::visit([](const auto& m) { return m.out_features; }, matrix);
}

int64_t LinearWeights::in_features() const {
  return std::visit([](const auto& m) { return m.in_features; }, matrix);
}

QuantizedMatrix hold(QuantizedTensor weights) {
  const auto is_half = [](float value) { return half_to_float(float_to_half(value)) == value; };
  const bool half_numbers = std::all_of(weights.scales.begin(), weights.scales.end(), is_half) &&
                            std::all_of(weights.offsets.begin(), weights.offsets.end(), is_half);
  const auto held = std::make_shared<const QuantizedTensor>(std::move(weights));
  return {held->out_features, held->in_features,
          held->bits,         held->group_size,
          half_numbers,       [held](int64_t first, int64_t count) { return held->rows(first, count); }};
}

LinearWeights LinearWeights::rows(int64_t first, int64_t count) const {
  LinearWeights part;
  if (!bias.empty()) part.bias.assign(bias.begin() + first, bias.begin() + first + count);
  if (const auto* dense = std::get_if<DenseMatrix>(&matrix)) {
    part.matrix = DenseMatrix{
        count, dense->in_features, dense->dtype,
        [first, read = dense->read_rows](int64_t row, int64_t rows, float* out) { read(first + row, rows, out); }};
  } else {
    QuantizedMatrix quantized = std::get<QuantizedMatrix>(matrix);
    quantized.out_features = count;
    quantized.read_rows = [first, read = std::move(quantized.read_rows)](int64_t row, int64_t rows) {
      return read(first + row, rows);
    };
    part.matrix = std::move(quantized);
  }
  return part;
}

void LinearWeights::read_rows(int64_t first, int64_t count, float* out) const {
  if (const auto* dense = std::get_if<DenseMatrix>(&matrix)) {
    dense->read_rows(first, count, out);
  } else {
    std::get<QuantizedMatrix>(matrix).read_rows(first, count).dequantize_rows(0, count, out);
  }
}

}  // namespace salient::core
