#include "quantize/estimate.h"

#include <gtest/gtest.h>

namespace salient::quantize {
namespace {

/// The shapes of SmolLM2-135M.
model::DecoderSpec small_spec() {
  model::DecoderSpec spec;
  spec.layers = 30;
  spec.hidden_size = 576;
  spec.heads = 9;
  spec.kv_heads = 3;
  spec.head_dim = 64;
  spec.intermediate_size = 1536;
  spec.vocab_size = 49152;
  spec.tied_embeddings = true;
  spec.gated_mlp = true;
  return spec;
}

double flop_of(const Estimate& estimate, Stage stage) {
  return estimate.flop[static_cast<size_t>(stage)];
}

constexpr double kLinearWeights = 576.0 * 960 + 576 * 576 + 576 * 3072 + 1536 * 576;

TEST(EstimateTest, CountsTheBytesOfCodesScalesZeroPointsAndWhatStaysDense) {
  const double layer = kLinearWeights / 2 + kLinearWeights / 64 * 2.5 + 2 * 576 * 2;
  const double expected = 30 * layer + 49152.0 * 576 * 2 + 576 * 2;
  const Estimate result = estimate(small_spec(), 64, {}, 48, 512);
  EXPECT_NEAR(static_cast<double>(result.bytes), expected, 1);
  model::DecoderSpec untied = small_spec();
  untied.tied_embeddings = false;
  EXPECT_NEAR(static_cast<double>(estimate(untied, 64, {}, 48, 512).bytes - result.bytes), 49152.0 * 576 * 2, 1);
}

TEST(EstimateTest, CalibrationRunsTheTextThroughEveryLayerAndSumsHalfOfEachGramMatrix) {
  const double tokens = 48 * 512;
  const double attention = 2.0 * 512 * 576;
  const double squares = 3 * 576.0 * 576 + 1536.0 * 1536;
  const double forward = 30 * tokens * (2 * kLinearWeights + attention);
  const Estimate result = estimate(small_spec(), 64, steps_of(Method::kAwq, true), 48, 512);
  EXPECT_NEAR(flop_of(result, Stage::kCalibration), forward, 1e-9 * forward);
  EXPECT_NEAR(flop_of(result, Stage::kGram), 30 * tokens * squares, 1e-9 * forward);
}

TEST(EstimateTest, MoreStepsTakeMore) {
  const auto of = [](Method method) { return estimate(small_spec(), 64, steps_of(method, true), 48, 512); };
  EXPECT_EQ(of(Method::kRoundToNearest).total_flop(), 0);
  for (const Stage stage : {Stage::kCorrection, Stage::kCompensation, Stage::kDescent}) {
    EXPECT_EQ(flop_of(of(Method::kAwq), stage), 0);
    EXPECT_GT(flop_of(of(Method::kAwqPlus), stage), 0);
  }
  // The last layer's quantized form has nothing behind it that would be corrected.
  EXPECT_NEAR(flop_of(of(Method::kAwqPlus), Stage::kCalibration) / flop_of(of(Method::kAwq), Stage::kCalibration),
              (3 * 30 - 1) / 30.0, 1e-9);
  EXPECT_GT(of(Method::kAwqPlus).memory, of(Method::kAwq).memory);
  // Twice the text: all hidden states twice.
  const Estimate twice = estimate(small_spec(), 64, steps_of(Method::kAwq, true), 96, 512);
  EXPECT_EQ(twice.memory - of(Method::kAwq).memory, 48u * 512 * 576 * 4);
  EXPECT_EQ(flop_of(twice, Stage::kScales), flop_of(of(Method::kAwq), Stage::kScales));
}

}  // namespace
}  // namespace salient::quantize
