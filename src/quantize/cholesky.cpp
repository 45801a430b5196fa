#include "quantize/cholesky.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "quantize/tiles.h"

namespace salient::quantize {

namespace {

/// Columns that are factored together: as wide as the widest kernel takes at once.
constexpr int64_t kBlock = 64;
constexpr int64_t kRowBlock = 96;
/// No matrix of finite numbers lacks a factor with as much.
constexpr double kMostDamping = 1e6;

/// Calls body(first, count) for blocks of [begin, end).
template <typename Body>
void each_block(int64_t begin, int64_t end, core::ThreadPool& pool, Body&& body) {
  pool.each((end - begin + kRowBlock - 1) / kRowBlock, [&](int64_t block) {
    const int64_t first = begin + block * kRowBlock;
    body(first, std::min(kRowBlock, end - first));
  });
}

/// Factors the diagonal block in place, which must be what the columns before it have left of it.
bool factor_diagonal(Matrix& a, int64_t begin, int64_t end) {
  for (int64_t column = begin; column < end; ++column) {
    double pivot = a.row(column)[column];
    for (int64_t k = begin; k < column; ++k) pivot -= double{a.row(column)[k]} * a.row(column)[k];
    if (!(pivot > 0)) return false;
    const double root = std::sqrt(pivot);
    a.row(column)[column] = static_cast<float>(root);
    for (int64_t row = column + 1; row < end; ++row) {
      double sum = a.row(row)[column];
      for (int64_t k = begin; k < column; ++k) sum -= double{a.row(row)[k]} * a.row(column)[k];
      a.row(row)[column] = static_cast<float>(sum / root);
    }
  }
  return true;
}

/// x becomes the solution of x L^T = x for a row of a block, L the triangle of `lower` at (begin, begin).
void solve_forward(const Matrix& lower, int64_t begin, int64_t end, float* x) {
  for (int64_t column = begin; column < end; ++column) {
    const float* l = lower.row(column);
    float sum = x[column];
    for (int64_t k = begin; k < column; ++k) sum -= x[k] * l[k];
    x[column] = sum / l[column];
  }
}

/// x becomes the solution of x L = x for a row of a block.
void solve_backward(const Matrix& lower, int64_t begin, int64_t end, float* x) {
  for (int64_t column = end - 1; column >= begin; --column) {
    const float* l = lower.row(column);
    x[column] /= l[column];
    for (int64_t k = begin; k < column; ++k) x[k] -= x[column] * l[k];
  }
}

/// Takes `products` [count, width] off the columns [begin, begin + width) of rows.
void subtract(const Matrix& products, int64_t first, int64_t count, int64_t begin, int64_t width, Matrix& rows) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t column = 0; column < width; ++column) {
      rows.row(first + i)[begin + column] -= products.row(i)[column];
    }
  }
}

/// Replaces the lower triangle of a symmetric matrix by its Cholesky factor, block of columns after block of columns;
/// false when it is not positive definite.
bool factor(Matrix& a, core::ThreadPool& pool) {
  Tiles tiles(kBlock, a.columns);
  for (int64_t begin = 0; begin < a.rows; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, a.rows);
    tiles.pack(a.row(begin), a.columns, 1, end - begin, begin);
    each_block(begin, a.rows, pool, [&](int64_t first, int64_t count) {
      Matrix products(count, end - begin);
      tiles.multiply(0, end - begin, a.row(first), a.columns, count, false, products.row(0), products.columns);
      subtract(products, first, count, begin, end - begin, a);
    });
    if (!factor_diagonal(a, begin, end)) return false;
    each_block(end, a.rows, pool, [&](int64_t first, int64_t count) {
      for (int64_t row = first; row < first + count; ++row) solve_forward(a, begin, end, a.row(row));
    });
  }
  return true;
}

}  // namespace

DampedFactor factor_gram(const Matrix& gram, float damping, core::ThreadPool& pool) {
  const int64_t size = gram.rows;
  DampedFactor result;
  result.order.resize(static_cast<size_t>(size));
  std::iota(result.order.begin(), result.order.end(), 0);
  std::stable_sort(result.order.begin(), result.order.end(),
                   [&](int32_t a, int32_t b) { return gram.row(a)[a] < gram.row(b)[b]; });
  double mean = 0;
  for (int64_t i = 0; i < size; ++i) mean += double{gram.row(i)[i]} / static_cast<double>(size);
  if (!(mean > 0)) mean = 1;  // inputs that are always 0
  for (double share = damping;; share *= 10) {
    result.lower = Matrix(size, size);
    for (int64_t i = 0; i < size; ++i) {
      const float* row = gram.row(result.order[i]);
      for (int64_t j = 0; j < i; ++j) result.lower.row(i)[j] = row[result.order[j]];
      result.lower.row(i)[i] = static_cast<float>(row[result.order[i]] + share * mean);
    }
    if (factor(result.lower, pool)) break;
    if (!(share < kMostDamping)) {
      core::fail(core::ErrorKind::kInvalidInput, "the inputs of a linear are no finite numbers: the model is damaged");
    }
  }
  for (int64_t i = 0; i < size; ++i) std::fill(result.lower.row(i) + i + 1, result.lower.row(i) + size, 0.0f);
  return result;
}

void solve_rows(const Matrix& lower, Matrix& rows, core::ThreadPool& pool) {
  const int64_t size = lower.rows;
  Tiles tiles(kBlock, size);
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, size);
    tiles.pack(lower.row(begin), size, 1, end - begin, begin);
    each_block(0, rows.rows, pool, [&](int64_t first, int64_t count) {
      Matrix products(count, end - begin);
      tiles.multiply(0, end - begin, rows.row(first), size, count, false, products.row(0), products.columns);
      subtract(products, first, count, begin, end - begin, rows);
      for (int64_t row = first; row < first + count; ++row) solve_forward(lower, begin, end, rows.row(row));
    });
  }
  for (int64_t end = size; end > 0;) {
    const int64_t begin = (end - 1) / kBlock * kBlock;
    // Column c of the block takes off what the later rows of L have there.
    if (end < size) tiles.pack(lower.row(end) + begin, 1, size, end - begin, size - end);
    each_block(0, rows.rows, pool, [&](int64_t first, int64_t count) {
      if (end < size) {
        Matrix products(count, end - begin);
        tiles.multiply(0, end - begin, rows.row(first) + end, size, count, false, products.row(0), products.columns);
        subtract(products, first, count, begin, end - begin, rows);
      }
      for (int64_t row = first; row < first + count; ++row) solve_backward(lower, begin, end, rows.row(row));
    });
    end = begin;
  }
}

}  // namespace salient::quantize
