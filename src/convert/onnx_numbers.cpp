#include "convert/onnx_numbers.h"

#include <algorithm>
#include <cmath>

#include "core/dtype.h"
#include "core/error.h"

namespace salient::convert {

namespace {

constexpr int64_t kRowsAtATime = 256;
constexpr int64_t kNumbersAtATime = int64_t{1} << 26;

}  // namespace

std::vector<std::byte> encode_numbers(std::span<const float> numbers, ElementType type, const std::string& origin) {
  if (type == ElementType::kFloat) {
    const auto bytes = std::as_bytes(numbers);
    return {bytes.begin(), bytes.end()};
  }
  std::vector<uint16_t> halves;
  halves.reserve(numbers.size());
  for (const float number : numbers) {
    halves.push_back(core::float_to_half(number));
    if (std::isfinite(number) && !std::isfinite(core::half_to_float(halves.back()))) {
      core::fail(core::ErrorKind::kUnsupported, "{}: holds {}, which is too large for fp16", origin, number);
    }
  }
  const auto bytes = std::as_bytes(std::span(halves));
  return {bytes.begin(), bytes.end()};
}

std::string add_vector(OnnxModelWriter& model, const std::string& name, std::span<const float> numbers,
                       ElementType type, const std::string& origin) {
  return model.add_tensor(name, type, {std::ssize(numbers)}, encode_numbers(numbers, type, origin + name));
}

std::string add_rows(OnnxModelWriter& model, const std::string& name, const core::LinearWeights& weights,
                     ElementType type, const std::string& origin) {
  const int64_t rows = weights.out_features();
  const int64_t columns = weights.in_features();
  model.begin_tensor(name, type, {rows, columns});
  for (int64_t first = 0; first < rows; first += kRowsAtATime) {
    const int64_t count = std::min(kRowsAtATime, rows - first);
    std::vector<float> numbers(static_cast<size_t>(count * columns));
    weights.read_rows(first, count, numbers.data());
    model.append(encode_numbers(numbers, type, origin + name));
  }
  return name;
}

std::string add_transposed(OnnxModelWriter& model, const std::string& name, const core::LinearWeights& weights,
                           ElementType type, const std::string& origin) {
  const int64_t rows = weights.out_features();
  const int64_t columns = weights.in_features();
  const int64_t strip = std::clamp<int64_t>(kNumbersAtATime / rows, 1, columns);
  std::vector<float> some_rows(static_cast<size_t>(std::min(kRowsAtATime, rows) * columns));
  model.begin_tensor(name, type, {columns, rows});
  for (int64_t left = 0; left < columns; left += strip) {
    const int64_t width = std::min(strip, columns - left);
    std::vector<float> transposed(static_cast<size_t>(width * rows));
    for (int64_t first = 0; first < rows; first += kRowsAtATime) {
      const int64_t count = std::min(kRowsAtATime, rows - first);
      weights.read_rows(first, count, some_rows.data());
      for (int64_t column = 0; column < width; ++column) {
        for (int64_t row = 0; row < count; ++row) {
          transposed[column * rows + first + row] = some_rows[row * columns + left + column];
        }
      }
    }
    model.append(encode_numbers(transposed, type, origin + name));
  }
  return name;
}

}  // namespace salient::convert
