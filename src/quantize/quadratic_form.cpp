#include "quantize/quadratic_form.h"

#include <algorithm>
#include <numeric>

#include "kernels/kernels.h"

namespace salient::quantize {

namespace {

/// Rows of H that are multiplied with together: as many as the widest kernel takes.
constexpr int64_t kPanel = 4 * kernels::kLanes;

}  // namespace

QuadraticForm::QuadraticForm(const Matrix& matrix, core::ThreadPool& pool) : size_(matrix.rows) {
  for (int64_t first = 0; first < size_; first += kPanel) {
    panels_.emplace_back(std::min(kPanel, size_ - first), size_ - first);
  }
  pool.each(std::ssize(panels_), [&](int64_t index) {
    const int64_t first = index * kPanel;
    Matrix panel(std::min(kPanel, size_ - first), size_ - first);
    for (int64_t row = 0; row < panel.rows; ++row) {
      const float* source = matrix.row(first + row) + first;
      for (int64_t i = 0; i < panel.columns; ++i) panel.row(row)[i] = i < panel.rows ? source[i] : 2 * source[i];
    }
    panels_[index].pack(panel.row(0), panel.columns, 1, panel.rows, panel.columns);
  });
}

void QuadraticForm::evaluate(const float* deltas, int64_t rows, int64_t stride, double* losses) const {
  std::vector<float> products(static_cast<size_t>(rows * kPanel));
  std::fill(losses, losses + rows, 0.0);
  for (int64_t first = 0; first < size_; first += kPanel) {
    const Tiles& panel = panels_[first / kPanel];
    const int64_t width = panel.rows();
    panel.multiply(0, width, deltas + first, stride, rows, /*accumulate=*/false, products.data(), width);
    for (int64_t row = 0; row < rows; ++row) {
      losses[row] += dot(deltas + row * stride + first, &products[row * width], width);
    }
  }
}

double QuadraticForm::sum(int64_t rows, const MakeRows& make, core::ThreadPool& pool) const {
  constexpr int64_t kRowBlock = 96;
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  std::vector<double> block_losses(static_cast<size_t>(blocks));
  pool.each(blocks, [&](int64_t block) {
    const int64_t first = block * kRowBlock;
    Matrix deltas(std::min(kRowBlock, rows - first), size_);
    std::vector<double> losses(static_cast<size_t>(deltas.rows));
    make(first, deltas);
    evaluate(deltas.values.data(), deltas.rows, size_, losses.data());
    for (const double loss : losses) block_losses[block] += loss;
  });
  return std::accumulate(block_losses.begin(), block_losses.end(), 0.0);
}

GroupForm::GroupForm(const Matrix& matrix, int64_t first, int64_t size) : size_(size), tiles_(size, size) {
  tiles_.pack(matrix.row(first) + first, matrix.columns, 1, size, size);
}

void GroupForm::evaluate(const float* deltas, int64_t rows, int64_t stride, float* products, double* losses) const {
  tiles_.multiply(0, size_, deltas, stride, rows, /*accumulate=*/false, products, size_);
  for (int64_t row = 0; row < rows; ++row) losses[row] = dot(deltas + row * stride, products + row * size_, size_);
}

GroupedForm::GroupedForm(Matrix gram_matrix, int group_size, core::ThreadPool& pool)
    : gram(std::move(gram_matrix)), whole(gram, pool) {
  for (int64_t first = 0; first < gram.rows; first += group_size) groups.emplace_back(gram, first, group_size);
}

double output_error(const Matrix& target, const core::QuantizedTensor& rounded, const QuadraticForm& form,
                    core::ThreadPool& pool) {
  const auto difference = [&](int64_t first, Matrix& deltas) {
    rounded.dequantize_rows(first, deltas.rows, deltas.values.data());
    for (int64_t i = 0; i < deltas.rows * deltas.columns; ++i) deltas.values[i] -= target.row(first)[i];
  };
  return form.sum(target.rows, difference, pool);
}

}  // namespace salient::quantize
