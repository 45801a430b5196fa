#include "quantize/quadratic_form.h"

#include <gtest/gtest.h>

#include "quantize/rounding.h"
#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

TEST(QuadraticForm, IsTheDoubleSum) {
  core::ThreadPool pool(2);
  constexpr int64_t kStride = 310;
  const Matrix deltas = random_matrix(100, kStride, 7);
  for (const int64_t size : {1, 17, 32, 64, 65, 128, 300}) {
    const Matrix gram = gram_of(random_matrix(400, size, 6));
    std::vector<double> losses(100, -1.0);
    QuadraticForm(gram, pool).evaluate(deltas.values.data(), 100, kStride, losses.data());
    for (int64_t row = 0; row < 100; ++row) {
      const double expected = quadratic(gram, deltas.row(row), 0, size);
      EXPECT_NEAR(losses[row], expected, 1e-5 * expected) << size;
    }
  }
}

TEST(GroupForm, IsTheDoubleSumOverABlock) {
  const Matrix gram = gram_of(random_matrix(150, 100, 6));
  constexpr int64_t kStride = 110;
  const Matrix deltas = random_matrix(5, kStride, 7);
  struct Block {
    int64_t first;
    int64_t size;
  };
  for (const Block block : {Block{0, 100}, Block{32, 32}, Block{60, 40}, Block{3, 17}}) {
    Matrix products(5, block.size);
    std::vector<double> losses(5);
    GroupForm(gram, block.first, block.size).evaluate(deltas.values.data(), 5, kStride, products.row(0), losses.data());
    for (int64_t row = 0; row < 5; ++row) {
      const double expected = quadratic(gram, deltas.row(row), block.first, block.size);
      EXPECT_NEAR(losses[row], expected, 1e-5 * expected) << block.size << " from " << block.first;
      for (int64_t j = 0; j < block.size; ++j) {
        const float* h = gram.row(block.first + j) + block.first;
        EXPECT_NEAR(products.row(row)[j], dot(deltas.row(row), h, block.size), 1e-5);
      }
    }
  }
}

TEST(OutputError, IsTheSquaredErrorOfTheOutputs) {
  const Matrix x = random_matrix(90, 64, 1);
  const Matrix target = random_matrix(110, 64, 2);
  core::ThreadPool pool(2);
  const auto rounded = round_matrix(target, 32, plain_grids(target, 32, pool), pool);
  Matrix values(110, 64);
  rounded.dequantize_rows(0, 110, values.row(0));
  double expected = 0;
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t row = 0; row < target.rows; ++row) {
      double difference = 0;
      for (int64_t i = 0; i < 64; ++i) difference += (double{values.row(row)[i]} - target.row(row)[i]) * x.row(t)[i];
      expected += difference * difference / static_cast<double>(x.rows);
    }
  }
  const GroupedForm form(gram_of(x), 32, pool);
  EXPECT_EQ(form.groups.size(), 2u);
  EXPECT_NEAR(output_error(target, rounded, form.whole, pool), expected, 1e-4 * expected);
}

}  // namespace
}  // namespace salient::quantize
