#include "quantize/dense_layer.h"

#include <gtest/gtest.h>

#include "core/dtype.h"
#include "tests/quantize/reference.h"
#include "tests/support/tiny_model.h"

namespace salient::quantize {
namespace {

/// W x + bias, in double.
std::vector<double> multiply(const DenseLinear& linear, const std::vector<double>& x) {
  std::vector<double> y;
  for (int64_t row = 0; row < linear.weights.rows; ++row) {
    double sum = linear.bias.empty() ? 0.0 : double{linear.bias[row]};
    for (int64_t i = 0; i < linear.weights.columns; ++i) sum += linear.weights.row(row)[i] * x[i];
    y.push_back(sum);
  }
  return y;
}

void expect_near(const std::vector<double>& expected, const std::vector<double>& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(expected[i], actual[i], 1e-5 * (1 + std::fabs(expected[i])));
}

std::vector<double> random_input(int64_t size) {
  const Matrix matrix = random_matrix(1, size, 99);
  return {matrix.values.begin(), matrix.values.end()};
}

TEST(ScaleBehindNorm, LeavesWhatTheLinearsComputeUnchanged) {
  DenseLinear first{"first", random_matrix(5, 24, 1), {}};
  DenseLinear second{"second", random_matrix(3, 24, 2), {1.0f, -2.0f, 3.0f}};
  model::Norm parameters;
  std::vector<float>& norm = parameters.weight;
  std::vector<float> scales;
  for (int i = 0; i < 24; ++i) {
    norm.push_back(0.5f + 0.1f * static_cast<float>(i));
    scales.push_back(std::pow(1.37f, static_cast<float>(i - 12)));
  }
  norm[4] = -0.7f;
  norm[7] = 0.0f;      // silences its input
  norm[11] = 1e-7f;    // divided by 0.7 it is among fp16's smallest numbers
  norm[23] = 5e-7f;    // divided by 32 it is 0 in fp16
  norm[0] = 60000.0f;  // divided by 0.02 it leaves fp16's range
  const auto hidden = random_input(24);
  const auto normed = [&] {
    std::vector<double> x;
    for (size_t i = 0; i < norm.size(); ++i) x.push_back(hidden[i] * norm[i]);
    return x;
  };
  const std::vector<float> old_norm = norm;
  const std::vector<float> asked = scales;
  const Matrix old_weights = first.weights;
  const auto expected_first = multiply(first, normed());
  const auto expected_second = multiply(second, normed());

  scale_behind_norm(parameters, 0.0f, std::array{&first, &second}, scales);

  expect_near(expected_first, multiply(first, normed()));
  expect_near(expected_second, multiply(second, normed()));
  for (const size_t i : {0, 7, 23}) {
    EXPECT_EQ(norm[i], old_norm[i]) << i;
    EXPECT_EQ(scales[i], 1.0f) << i;
  }
  for (size_t i = 0; i < norm.size(); ++i) {
    EXPECT_EQ(first.weights.row(0)[i], old_weights.row(0)[i] * scales[i]) << "scales are not what was applied";
    if (i == 0 || i == 7 || i == 11 || i == 23) continue;
    EXPECT_EQ(core::half_to_float(core::float_to_half(norm[i])), norm[i]) << "the norm is not stored exactly";
    EXPECT_NEAR(scales[i], asked[i], 0x1p-10 * asked[i]);
  }
}

TEST(ScaleBehindNorm, DividesABiasAndStoresTheWeightLessItsOffset) {
  DenseLinear linear{"linear", random_matrix(5, 16, 1), {}};
  model::Norm norm;
  std::vector<float> scales;
  for (int i = 0; i < 16; ++i) {
    norm.weight.push_back(1.0f + 0.05f * static_cast<float>(i - 7));
    norm.bias.push_back(0.3f * static_cast<float>(i % 5 - 2));
    scales.push_back(std::pow(1.2f, static_cast<float>(i - 8)));
  }
  const auto hidden = random_input(16);
  const auto normed = [&] {
    std::vector<double> x;
    for (size_t i = 0; i < 16; ++i) x.push_back(hidden[i] * norm.weight[i] + norm.bias[i]);
    return x;
  };
  const auto expected = multiply(linear, normed());
  scale_behind_norm(norm, 1.0f, std::array{&linear}, scales);
  expect_near(expected, multiply(linear, normed()));
  for (const float weight : norm.weight) {
    EXPECT_EQ(core::half_to_float(core::float_to_half(weight - 1.0f)) + 1.0f, weight) << "is not stored exactly";
  }
}

TEST(ScaleBehindLinear, LeavesWhatBothComputeUnchangedWhereHeadsShareValues) {
  // Two values of 4 dimensions, each read by three query heads.
  constexpr int64_t kHeadDim = 4;
  constexpr int64_t kHeadsAValue = 3;
  const auto row_of = [](int64_t i) { return i / kHeadDim / kHeadsAValue * kHeadDim + i % kHeadDim; };
  DenseLinear before{"v_proj", random_matrix(8, 10, 3), {1, 2, 3, 4, -5, -6, -7, -8}};
  DenseLinear after{"o_proj", random_matrix(6, 24, 4), {}};
  std::vector<float> scales;
  for (int64_t i = 0; i < 24; ++i) scales.push_back(0.25f + 0.5f * static_cast<float>(row_of(i)));
  const auto x = random_input(10);
  const auto output = [&] {
    const auto values = multiply(before, x);
    std::vector<double> heads;
    for (int64_t head = 0; head < 6; ++head) {
      for (int64_t d = 0; d < kHeadDim; ++d) heads.push_back(values[head / kHeadsAValue * kHeadDim + d]);
    }
    return multiply(after, heads);
  };
  const auto expected = output();
  const float old_weight = after.weights.row(5)[23];
  scale_behind_linear(before, after, scales, row_of);
  expect_near(expected, output());
  EXPECT_EQ(after.weights.row(5)[23], old_weight * scales[23]);
}

TEST(DivideGram, GivesTheGramMatrixOfDividedInputs) {
  Matrix x = random_matrix(50, 12, 5);
  Matrix gram = gram_of(x);
  std::vector<float> scales;
  for (int i = 0; i < 12; ++i) scales.push_back(0.5f + static_cast<float>(i));
  for (int64_t token = 0; token < x.rows; ++token) {
    for (int64_t i = 0; i < x.columns; ++i) x.row(token)[i] /= scales[i];
  }
  core::ThreadPool pool(2);
  divide_gram(gram, scales, pool);
  const Matrix expected = gram_of(x);
  for (size_t i = 0; i < gram.values.size(); ++i) {
    EXPECT_NEAR(gram.values[i], expected.values[i], 1e-5 * (std::fabs(expected.values[i]) + 1e-3));
  }
}

TEST(DenseLayer, HoldsTheLinearsOfALayerInTheOrderOfTheirSlots) {
  const tests::TemporaryFolder folder;
  tests::write_tiny_model(folder.path());
  const model::Decoder decoder(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder.path())));
  core::ThreadPool pool(3);
  DenseLayer layer(decoder.layer(1), pool);
  const std::vector<std::string> names = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                          "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                          "mlp.down_proj"};
  const auto linears = layer.linears();
  for (size_t i = 0; i < names.size(); ++i) {
    const auto& stored = decoder.checkpoint().tensor("model.layers.1." + names[i] + ".weight");
    const Matrix& weights = linears[i]->weights;
    ASSERT_EQ(stored.view.shape, (std::vector<int64_t>{weights.rows, weights.columns}));
    for (size_t k = 0; k < weights.values.size(); ++k) {
      uint16_t bits = 0;
      std::memcpy(&bits, stored.view.bytes.data() + 2 * k, sizeof bits);
      ASSERT_EQ(weights.values[k], core::half_to_float(bits)) << names[i] << ", element " << k;
    }
  }
  EXPECT_EQ(layer.norms.attention.weight, decoder.checkpoint().vector("model.layers.1.input_layernorm.weight", 64));
  EXPECT_EQ(layer.norms.mlp.weight, decoder.checkpoint().vector("model.layers.1.post_attention_layernorm.weight", 64));
}

}  // namespace
}  // namespace salient::quantize
