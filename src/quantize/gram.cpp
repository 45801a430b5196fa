#include "quantize/gram.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"

namespace salient::quantize {

using kernels::kLanes;

namespace {

/// Tokens summed in one go.
constexpr int64_t kChunk = 512;
/// Inputs whose columns of H are one work item: four tiles, as wide as the widest kernel takes.
constexpr int64_t kBlock = 4 * kLanes;

int64_t tiles_of(int64_t width) {
  return (width + kLanes - 1) / kLanes;
}

}  // namespace

GramAccumulator::GramAccumulator(int64_t width, core::ThreadPool& pool)
    : width_(width),
      pool_(pool),
      sums_(width * width),
      magnitudes_(width),
      transposed_(width * kChunk),
      tiles_(tiles_of(width) * kLanes * kChunk) {}

void GramAccumulator::add(const float* x, int64_t tokens) {
  for (; tokens > kChunk; tokens -= kChunk, x += kChunk * width_) add(x, kChunk);
  // H[i][j] = sum over tokens of X[t][i] X[t][j] is the product of X^T with itself: "weights" X^T in tiles of 16
  // inputs, "activations" the rows of X^T.
  pool_.split(width_, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t t = 0; t < tokens; ++t) {
        const float value = x[t * width_ + i];
        transposed_[i * tokens + t] = value;
        tiles_[(i / kLanes * tokens + t) * kLanes + i % kLanes] = value;
        magnitudes_[i] += std::fabs(value);
      }
    }
  });
  const kernels::KernelSet& kernels = kernels::active_kernels();
  const kernels::DenseTiles weights{tiles_.data(), width_, tokens};
  pool_.each((width_ + kBlock - 1) / kBlock, [&](int64_t block) {
    const int64_t first = block * kBlock;
    const int64_t end_tile = std::min(first / kLanes + kBlock / kLanes, tiles_of(width_));
    // H is symmetric: a block of columns needs only the rows from its diagonal on.
    kernels.multiply_f32(weights, first / kLanes, end_tile, &transposed_[first * tokens], tokens, width_ - first,
                         /*accumulate=*/true, &sums_[first * width_], width_);
  });
  tokens_ += tokens;
}

Matrix GramAccumulator::gram() const {
  Matrix gram(width_, width_);
  const float inverse = 1.0f / static_cast<float>(std::max<int64_t>(tokens_, 1));
  for (int64_t i = 0; i < width_; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const float value = sums_[i * width_ + j] * inverse;
      gram.row(i)[j] = value;
      gram.row(j)[i] = value;
    }
  }
  return gram;
}

std::vector<float> GramAccumulator::mean_magnitudes() const {
  std::vector<float> means;
  for (const double sum : magnitudes_) {
    means.push_back(static_cast<float>(sum / static_cast<double>(std::max<int64_t>(tokens_, 1))));
  }
  return means;
}

QuadraticForm::QuadraticForm(const Matrix& matrix, int64_t first, int64_t size)
    : size_(size), tiles_(tiles_of(size) * kLanes * size) {
  for (int64_t row = 0; row < size; ++row) {
    for (int64_t column = 0; column < size; ++column) {
      tiles_[(row / kLanes * size + column) * kLanes + row % kLanes] = matrix.row(first + row)[first + column];
    }
  }
}

void QuadraticForm::evaluate(const float* deltas, int64_t rows, int64_t stride, float* scratch, double* losses) const {
  const kernels::DenseTiles weights{tiles_.data(), size_, size_};
  kernels::active_kernels().multiply_f32(weights, 0, tiles_of(size_), deltas, stride, rows, /*accumulate=*/false,
                                         scratch, size_);
  for (int64_t row = 0; row < rows; ++row) {
    double loss = 0;
    for (int64_t i = 0; i < size_; ++i) loss += double{deltas[row * stride + i]} * scratch[row * size_ + i];
    losses[row] = loss;
  }
}

}  // namespace salient::quantize
