#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "quantize/matrix.h"
#include "quantize/rounding.h"

namespace salient::quantize {

inline Matrix random_matrix(int64_t rows, int64_t columns, uint32_t seed, float deviation = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> distribution(0.0f, deviation);
  Matrix matrix(rows, columns);
  for (float& value : matrix.values) value = distribution(engine);
  return matrix;
}

/// Weights that the grid of each group holds exactly: -8..7, both ends in each group of 16.
inline Matrix grid_matrix(int64_t rows, int64_t columns) {
  Matrix matrix(rows, columns);
  for (int64_t i = 0; i < rows * columns; ++i) matrix.values[i] = static_cast<float>(i * 5 % 16) - 8.0f;
  return matrix;
}

/// X^T X / tokens, in double until the end.
inline Matrix gram_of(const Matrix& x) {
  Matrix gram(x.columns, x.columns);
  for (int64_t i = 0; i < x.columns; ++i) {
    for (int64_t j = 0; j < x.columns; ++j) {
      double sum = 0;
      for (int64_t token = 0; token < x.rows; ++token) sum += double{x.row(token)[i]} * x.row(token)[j];
      gram.row(i)[j] = static_cast<float>(sum / static_cast<double>(x.rows));
    }
  }
  return gram;
}

/// The mean of |x| of each input.
inline std::vector<float> magnitudes_of(const Matrix& x) {
  std::vector<float> means;
  for (int64_t i = 0; i < x.columns; ++i) {
    double sum = 0;
    for (int64_t token = 0; token < x.rows; ++token) sum += std::fabs(x.row(token)[i]);
    means.push_back(static_cast<float>(sum / static_cast<double>(x.rows)));
  }
  return means;
}

/// d H d^T in double, for `size` inputs from `first` on.
inline double quadratic(const Matrix& gram, const float* d, int64_t first, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < size; ++j) sum += double{d[i]} * gram.row(first + i)[first + j] * d[j];
  }
  return sum;
}

/// What rounding makes of one group.
inline std::vector<float> rounded_group(const float* weights, int size, float clip) {
  const Grid grid = make_grid(weights, size, clip);
  std::vector<float> values;
  for (int i = 0; i < size; ++i) values.push_back(grid.value_of(grid.code_of(weights[i])));
  return values;
}

}  // namespace salient::quantize
