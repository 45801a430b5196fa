#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace salient::quantize {

/// A dense fp32 matrix, row-major.
struct Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> values;

  Matrix() = default;
  Matrix(int64_t row_count, int64_t column_count)
      : rows(row_count), columns(column_count), values(static_cast<size_t>(row_count * column_count)) {}
  float* row(int64_t index) { return values.data() + index * columns; }
  const float* row(int64_t index) const { return values.data() + index * columns; }
};

/// The sum of a[i] * b[i] in double, in eight interleaved partial sums.
inline double dot(const float* a, const float* b, int64_t size) {
  constexpr int64_t kSums = 8;
  double sums[kSums] = {};
  const int64_t whole = size / kSums * kSums;
  for (int64_t i = 0; i < whole; i += kSums) {
    for (int64_t lane = 0; lane < kSums; ++lane) sums[lane] += double{a[i + lane]} * b[i + lane];
  }
  for (int64_t i = whole; i < size; ++i) sums[0] += double{a[i]} * b[i];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace salient::quantize
