#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "core/quantized_tensor.h"
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
inline std::vector<float> rounded_group(const float* weights, int size) {
  const Grid grid = make_grid(weights, size);
  std::vector<float> values;
  for (int i = 0; i < size; ++i) values.push_back(grid.value_of(grid.code_of(weights[i])));
  return values;
}

/// A^-1 of a symmetric positive definite matrix, in double, by Gauss and Jordan.
inline std::vector<std::vector<double>> inverse_of(const Matrix& matrix) {
  const auto size = static_cast<size_t>(matrix.rows);
  std::vector<std::vector<double>> a(size, std::vector<double>(size));
  std::vector<std::vector<double>> inverse = a;
  for (size_t i = 0; i < size; ++i) {
    for (size_t j = 0; j < size; ++j) a[i][j] = matrix.values[i * size + j];
    inverse[i][i] = 1;
  }
  for (size_t k = 0; k < size; ++k) {
    const double pivot = a[k][k];
    for (size_t j = 0; j < size; ++j) {
      a[k][j] /= pivot;
      inverse[k][j] /= pivot;
    }
    for (size_t i = 0; i < size; ++i) {
      if (i == k) continue;
      const double factor = a[i][k];
      for (size_t j = 0; j < size; ++j) {
        a[i][j] -= factor * a[k][j];
        inverse[i][j] -= factor * inverse[k][j];
      }
    }
  }
  return inverse;
}

/// A Gram matrix with its mean diagonal element times `damping` added to the diagonal.
inline Matrix damped(const Matrix& gram, double damping) {
  Matrix result = gram;
  double mean = 0;
  for (int64_t i = 0; i < gram.rows; ++i) mean += gram.row(i)[i] / static_cast<double>(gram.rows);
  for (int64_t i = 0; i < gram.rows; ++i) result.row(i)[i] += static_cast<float>(damping * mean);
  return result;
}

/// The sum over rows of (rounded - target) H (rounded - target)^T, in double.
inline double error_of(const Matrix& target, const core::QuantizedTensor& rounded, const Matrix& gram) {
  Matrix deltas(target.rows, target.columns);
  rounded.dequantize_rows(0, target.rows, deltas.row(0));
  double error = 0;
  for (int64_t row = 0; row < target.rows; ++row) {
    for (int64_t i = 0; i < target.columns; ++i) deltas.row(row)[i] -= target.row(row)[i];
    error += quadratic(gram, deltas.row(row), 0, target.columns);
  }
  return error;
}

}  // namespace salient::quantize
