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

GramAccumulator::GramAccumulator(int64_t width, Drift drift, core::ThreadPool& pool)
    : width_(width),
      pool_(pool),
      sums_(width * width),
      drift_sums_(drift == Drift::kKept ? width * width : 0),
      magnitudes_(width),
      transposed_(width * kChunk),
      drift_transposed_(drift == Drift::kKept ? width * kChunk : 0),
      tiles_(tiles_of(width) * kLanes * kChunk) {}

void GramAccumulator::add(const float* x, const float* unquantized, int64_t tokens) {
  for (; tokens > kChunk; tokens -= kChunk, x += kChunk * width_) {
    add(x, unquantized, kChunk);
    if (unquantized) unquantized += kChunk * width_;
  }
  const bool drift = drift_sums_.size() > 0;
  // H[i][j] = sum over tokens of X[t][i] X[t][j] is the product of X^T with itself: "weights" X^T in tiles of 16
  // inputs, "activations" the rows of X^T.
  pool_.split(width_, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t t = 0; t < tokens; ++t) {
        const float value = x[t * width_ + i];
        transposed_[i * tokens + t] = value;
        if (drift) drift_transposed_[i * tokens + t] = unquantized[t * width_ + i] - value;
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
    if (drift) {
      kernels.multiply_f32(weights, first / kLanes, end_tile, drift_transposed_.data(), tokens, width_,
                           /*accumulate=*/true, drift_sums_.data(), width_);
    }
  });
  tokens_ += tokens;
}

Matrix GramAccumulator::gram() const {
  Matrix gram(width_, width_);
  const float inverse = 1.0f / static_cast<float>(std::max<int64_t>(tokens_, 1));
  const int64_t blocks = (width_ + kBlock - 1) / kBlock;
  // Block by block, since what is above the diagonal is read down columns.
  pool_.each(blocks, [&](int64_t block) {
    const int64_t first = block * kBlock;
    const int64_t end = std::min(first + kBlock, width_);
    for (int64_t left = 0; left < width_; left += kBlock) {
      for (int64_t i = first; i < end; ++i) {
        for (int64_t j = left; j < std::min(left + kBlock, width_); ++j) {
          gram.row(i)[j] = (j <= i ? sums_[i * width_ + j] : sums_[j * width_ + i]) * inverse;
        }
      }
    }
  });
  return gram;
}

Matrix GramAccumulator::drift() const {
  if (drift_sums_.size() == 0) return {};
  Matrix drift(width_, width_);
  const float inverse = 1.0f / static_cast<float>(std::max<int64_t>(tokens_, 1));
  for (int64_t i = 0; i < width_ * width_; ++i) drift.values[i] = drift_sums_[i] * inverse;
  return drift;
}

std::vector<float> GramAccumulator::mean_magnitudes() const {
  std::vector<float> means;
  for (const double sum : magnitudes_) {
    means.push_back(static_cast<float>(sum / static_cast<double>(std::max<int64_t>(tokens_, 1))));
  }
  return means;
}

void regularize_gram(Matrix& gram, float shrinkage, float damping) {
  double sum = 0;
  for (int64_t i = 0; i < gram.rows; ++i) sum += gram.row(i)[i];
  const auto added = static_cast<float>(damping * sum / static_cast<double>(gram.rows));
  for (int64_t i = 0; i < gram.rows; ++i) {
    const float own = gram.row(i)[i];
    for (int64_t j = 0; j < gram.columns; ++j) gram.row(i)[j] *= 1 - shrinkage;
    gram.row(i)[i] = own + added;
  }
}

double effective_rank(const Matrix& gram) {
  std::vector<double> inverse(static_cast<size_t>(gram.rows));  // of the diagonal; 0 for inputs that are always 0
  double inputs = 0;
  for (int64_t i = 0; i < gram.rows; ++i) {
    const double own = gram.row(i)[i];
    if (own <= 0) continue;
    inverse[i] = 1 / own;
    inputs += 1;
  }
  double squares = inputs;
  for (int64_t i = 0; i < gram.rows; ++i) {
    double row = 0;
    for (int64_t j = 0; j < i; ++j) row += double{gram.row(i)[j]} * gram.row(i)[j] * inverse[j];
    squares += 2 * row * inverse[i];
  }
  return inputs > 0 ? inputs * inputs / squares : 0;
}

}  // namespace salient::quantize
