#include "quantize/correction.h"

#include <gtest/gtest.h>

#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

constexpr int64_t kWidth = 100;
constexpr int64_t kTokens = 300;

class CorrectionTest : public testing::Test {
 protected:
  CorrectionTest() {
    for (size_t i = 0; i < inputs_.values.size(); ++i) inputs_.values[i] += 0.2f * moved_.values[i] - 0.1f;
    gram_ = gram_of(inputs_);
    drift_ = Matrix(kWidth, kWidth);
    for (int64_t i = 0; i < kWidth; ++i) {
      for (int64_t j = 0; j < kWidth; ++j) {
        double sum = 0;
        for (int64_t t = 0; t < kTokens; ++t) {
          sum += (double{unquantized_.row(t)[i]} - inputs_.row(t)[i]) * inputs_.row(t)[j];
        }
        drift_.row(i)[j] = static_cast<float>(sum / kTokens);
      }
    }
  }

  /// ||X0 W^T - X V^T||^2 / tokens, plus what damping adds for V - W.
  double error_of_weights(const Matrix& changed, double penalty) const {
    double error = 0;
    for (int64_t row = 0; row < weights_.rows; ++row) {
      for (int64_t t = 0; t < kTokens; ++t) {
        double difference = 0;
        for (int64_t i = 0; i < kWidth; ++i) {
          difference += double{unquantized_.row(t)[i]} * weights_.row(row)[i];
          difference -= double{inputs_.row(t)[i]} * changed.row(row)[i];
        }
        error += difference * difference / kTokens;
      }
      for (int64_t i = 0; i < kWidth; ++i) {
        error += penalty * std::pow(double{changed.row(row)[i]} - weights_.row(row)[i], 2);
      }
    }
    return error;
  }

  core::ThreadPool pool_{2};
  Matrix unquantized_ = random_matrix(kTokens, kWidth, 1);
  Matrix moved_ = random_matrix(kTokens, kWidth, 2);
  Matrix inputs_ = unquantized_;
  Matrix weights_ = random_matrix(20, kWidth, 3);
  Matrix gram_;
  Matrix drift_;
};

TEST_F(CorrectionTest, IsTheLeastSquaresFitToTheUnquantizedOutputs) {
  constexpr float kDamping = 0.05f;
  const Matrix fit = correct_weights(weights_, drift_, factor_gram(gram_, kDamping, pool_), 1.0f, pool_);
  double mean = 0;
  for (int64_t i = 0; i < kWidth; ++i) mean += gram_.row(i)[i] / static_cast<double>(kWidth);
  const double least = error_of_weights(fit, kDamping * mean);
  EXPECT_LT(least, 0.9 * error_of_weights(weights_, kDamping * mean));
  for (uint32_t seed = 0; seed < 5; ++seed) {
    const Matrix direction = random_matrix(20, kWidth, 10 + seed, 0.01f);
    for (const float sign : {-1.0f, 1.0f}) {
      Matrix other = fit;
      for (size_t i = 0; i < other.values.size(); ++i) other.values[i] += sign * direction.values[i];
      EXPECT_GT(error_of_weights(other, kDamping * mean), least);
    }
  }
}

TEST_F(CorrectionTest, TakesTheShareAskedFor) {
  const DampedFactor factor = factor_gram(gram_, 0.01f, pool_);
  const Matrix whole = correct_weights(weights_, drift_, factor, 1.0f, pool_);
  const Matrix quarter = correct_weights(weights_, drift_, factor, 0.25f, pool_);
  for (size_t i = 0; i < whole.values.size(); ++i) {
    EXPECT_NEAR(quarter.values[i], weights_.values[i] + 0.25f * (whole.values[i] - weights_.values[i]), 1e-5f);
  }
}

TEST_F(CorrectionTest, ChangesNothingWhereInputsHaveNotMoved) {
  const Matrix same = correct_weights(weights_, Matrix(kWidth, kWidth), factor_gram(gram_, 0.01f, pool_), 1.0f, pool_);
  EXPECT_EQ(same.values, weights_.values);
}

}  // namespace
}  // namespace salient::quantize
