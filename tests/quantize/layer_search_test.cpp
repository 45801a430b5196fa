#include "quantize/layer_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "runner/cpu_runner.h"
#include "tests/quantize/reference.h"
#include "tests/support/tiny_model.h"

namespace salient::quantize {
namespace {

constexpr int kGroupSize = 32;
constexpr int64_t kTokens = 120;
const Steps kAwqPlus = steps_of(Method::kAwqPlus, /*clip=*/true);

/// A layer whose linears are these matrices, which must outlive it.
model::DecoderLayer as_decoder_layer(DenseLayer& dense, const model::DecoderSpec& spec) {
  model::DecoderLayer layer;
  layer.norms = dense.norms;
  const auto linears = dense.linears();
  const auto slots = model::linear_slots(spec);
  for (size_t i = 0; i < slots.size(); ++i) {
    const Matrix& weights = linears[i]->weights;
    const auto read_rows = [&weights](int64_t first, int64_t count, float* out) {
      std::copy_n(weights.row(first), count * weights.columns, out);
    };
    core::LinearWeights& linear = layer.*slots[i].weights;
    linear.matrix = core::DenseMatrix{weights.rows, weights.columns, core::DType::kF32, read_rows};
    linear.bias = linears[i]->bias;
  }
  return layer;
}

/// Layer 0 of a tiny model with biases, and the hidden states of some text in front of it.
class LayerSearchTest : public testing::Test {
 protected:
  void SetUp() override {
    tests::write_tiny_model(folder_.path());
    decoder_ = std::make_shared<model::Decoder>(
        std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder_.path())));
    runner_.emplace(decoder_, pool_, runner::CpuRunnerOptions{.residency = runner::Residency::kStreamed});
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < kTokens; ++i) tokens.push_back(i * 37 % 256);
    hidden_.resize(kTokens * spec().hidden_size);
    runner_->embed(tokens, hidden_.data());
    // Channels of different sizes, so that there is something to scale.
    for (int64_t i = 0; i < std::ssize(hidden_); ++i) hidden_[i] *= i % spec().hidden_size % 11 == 3 ? 8.0f : 1.0f;
  }

  const model::DecoderSpec& spec() const { return decoder_->spec(); }

  DenseLayer make_layer() {
    DenseLayer layer(decoder_->layer(0), pool_);
    for (DenseLinear* linear : {&layer.query, &layer.value, &layer.output, &layer.up}) {
      linear->bias = random_matrix(1, linear->weights.rows, 8, 0.1f).values;
    }
    return layer;
  }

  std::vector<float> run(DenseLayer& dense, const runner::LinearObserver& observer = {}) {
    core::Arena arena;
    const runner::CpuLayer layer(as_decoder_layer(dense, spec()), spec().attention[0], runner::Activations::kInt8,
                                 pool_, arena);
    runner::Sequence sequence = runner_->new_sequence();
    std::vector<float> hidden = hidden_;
    runner_->run_layer(layer, sequence, kTokens, hidden.data(), observer);
    return hidden;
  }

  LayerStatistics observe(DenseLayer& layer) {
    LayerStatistics statistics(spec(), GramAccumulator::Drift::kKept, pool_);
    run(layer, [&](runner::LinearInput place, const float* x, int64_t tokens, int64_t width) {
      // The unquantized model's inputs: a hundredth larger, and a little noise.
      Matrix unquantized = random_matrix(tokens, width, 5, 0.02f);
      for (int64_t i = 0; i < tokens * width; ++i) unquantized.values[i] += 1.01f * x[i];
      statistics.observe(place, x, unquantized.row(0), tokens);
    });
    return statistics;
  }

  tests::TemporaryFolder folder_;
  StageTimes times_;
  core::ThreadPool pool_{2};
  std::shared_ptr<model::Decoder> decoder_;
  std::optional<runner::CpuRunner> runner_;
  std::vector<float> hidden_;
};

TEST_F(LayerSearchTest, LeavesTheFunctionOfTheLayerUnchangedBeforeRounding) {
  DenseLayer layer = make_layer();
  const auto expected = run(layer);
  const LayerStatistics statistics = observe(layer);
  const QuantizedLayer quantized = search_layer(layer, statistics, spec(), kGroupSize, kAwqPlus, times_, pool_);
  DenseLayer untouched = make_layer();
  EXPECT_NE(layer.norms.attention.weight, untouched.norms.attention.weight)
      << "nothing was scaled, so nothing is tested";
  EXPECT_NE(layer.norms.mlp.weight, untouched.norms.mlp.weight);
  EXPECT_NE(layer.value.bias, untouched.value.bias);
  EXPECT_NE(layer.down.weights.values, untouched.down.weights.values);
  EXPECT_EQ(quantized.norms.attention.weight, layer.norms.attention.weight);
  EXPECT_EQ(quantized.norms.mlp.weight, layer.norms.mlp.weight);
  const auto actual = run(layer);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], 2e-3 * (1 + std::fabs(expected[i]))) << i;  // values are kept in fp16
  }
}

TEST_F(LayerSearchTest, ReportsEveryScaleGroupAndLinearAndMakesNoneWorse) {
  DenseLayer layer = make_layer();
  const auto report = search_layer(layer, observe(layer), spec(), kGroupSize, kAwqPlus, times_, pool_).report;
  std::vector<std::string> parts;
  for (const SearchReport& line : report) {
    parts.push_back(line.part);
    EXPECT_EQ(line.kind == SearchReport::Kind::kScales, parts.size() <= 4);
    EXPECT_LE(line.loss_after, line.loss_before) << line.part;
    EXPECT_GT(line.loss_before, 0) << line.part;
    EXPECT_EQ(line.loss_after == line.loss_before, line.choice == "identity" || line.choice == "rounded")
        << line.part << ": " << line.choice;
  }
  EXPECT_EQ(parts, (std::vector<std::string>{"attention input", "attention output", "mlp input", "mlp output", "query",
                                             "key", "value", "output", "gate", "up", "down"}));
}

TEST_F(LayerSearchTest, ReportsTheErrorOfWhatItKeeps) {
  DenseLayer layer = make_layer();
  const LayerStatistics statistics = observe(layer);
  Steps steps = kAwqPlus;
  steps.scale = false;
  steps.correction = 0;
  const QuantizedLayer quantized = search_layer(layer, statistics, spec(), kGroupSize, steps, times_, pool_);
  Matrix gram = statistics.at(runner::LinearInput::kDown).gram();
  regularize_gram(gram, steps.shrinkage, steps.damping);
  ASSERT_EQ(quantized.report.back().part, "down");
  const double expected = error_of(layer.down.weights, quantized.linears.back(), gram);
  EXPECT_NEAR(quantized.report.back().loss_after, expected, 1e-4 * expected);
  const auto grids = plain_grids(layer.down.weights, kGroupSize, pool_);
  const double rounded = error_of(layer.down.weights, round_matrix(layer.down.weights, kGroupSize, grids, pool_), gram);
  EXPECT_NEAR(quantized.report.back().loss_before, rounded, 1e-4 * rounded);
}

TEST_F(LayerSearchTest, EachStepLowersTheErrorOfTheOneBefore) {
  std::vector<Steps> all(4);
  all[1].search_grids = all[2].search_grids = all[3].search_grids = true;
  all[2].compensate = all[3].compensate = true;
  all[3].sweeps = 4;
  double before = std::numeric_limits<double>::infinity();
  for (const Steps& steps : all) {
    DenseLayer layer = make_layer();
    double error = 0;
    for (const auto& line : search_layer(layer, observe(layer), spec(), kGroupSize, steps, times_, pool_).report) {
      error += line.loss_after;
    }
    EXPECT_LT(error, before);
    before = error;
  }
}

TEST_F(LayerSearchTest, WithoutScalesOfValuesLeavesValueAndOutputAsTheyAre) {
  DenseLayer layer = make_layer();
  Steps steps = kAwqPlus;
  steps.scale_values = false;
  const auto report = search_layer(layer, observe(layer), spec(), kGroupSize, steps, times_, pool_).report;
  EXPECT_EQ(layer.output.weights.values, make_layer().output.weights.values);
  EXPECT_EQ(layer.value.bias, make_layer().value.bias);
  EXPECT_EQ(report.size(), 10u);
}

TEST_F(LayerSearchTest, WithoutClippingRoundsEveryWeightToItsNearestStep) {
  DenseLayer layer = make_layer();
  const Steps steps = steps_of(Method::kAwq, /*clip=*/false);
  const QuantizedLayer quantized = search_layer(layer, observe(layer), spec(), kGroupSize, steps, times_, pool_);
  const auto linears = layer.linears();
  ASSERT_EQ(quantized.linears.size(), linears.size());
  for (size_t i = 0; i < linears.size(); ++i) {
    const core::QuantizedTensor& rounded = quantized.linears[i];
    const Matrix& weights = linears[i]->weights;
    ASSERT_EQ(rounded.group_size, kGroupSize);
    std::vector<float> values(weights.values.size());
    rounded.dequantize_rows(0, weights.rows, values.data());
    for (size_t k = 0; k < values.size(); ++k) {
      // The ends of the grid are up to half a step off, and rounding the scale adds a little.
      ASSERT_NEAR(values[k], weights.values[k], 1.01f * rounded.scales[k / kGroupSize]) << linears[i]->name;
    }
  }
}

TEST_F(LayerSearchTest, HalvesTheErrorOfTheLayerWhereChannelsDiffer) {
  DenseLayer plain = make_layer();
  const auto expected = run(plain);
  const auto error_of = [&](const QuantizedLayer& quantized, DenseLayer& layer) {
    const auto linears = layer.linears();
    for (size_t i = 0; i < linears.size(); ++i) {
      Matrix& weights = linears[i]->weights;
      quantized.linears[i].dequantize_rows(0, weights.rows, weights.values.data());
    }
    double error = 0;
    const auto actual = run(layer);
    for (size_t i = 0; i < actual.size(); ++i) error += std::pow(double{actual[i]} - expected[i], 2);
    return error;
  };
  DenseLayer searched = make_layer();
  const QuantizedLayer with_search =
      search_layer(searched, observe(searched), spec(), kGroupSize, kAwqPlus, times_, pool_);
  const QuantizedLayer without = round_layer(plain, kGroupSize, {}, pool_);
  EXPECT_LT(error_of(with_search, searched), 0.8 * error_of(without, plain));
}

TEST_F(LayerSearchTest, RoundLayerRoundsWhatIsThere) {
  DenseLayer layer = make_layer();
  const QuantizedLayer quantized = round_layer(layer, kGroupSize, {}, pool_);
  EXPECT_TRUE(quantized.report.empty());
  EXPECT_EQ(quantized.norms.attention.weight, make_layer().norms.attention.weight);
  const auto linears = layer.linears();
  for (size_t i = 0; i < linears.size(); ++i) {
    const Matrix& weights = linears[i]->weights;
    std::vector<float> values(weights.values.size());
    quantized.linears[i].dequantize_rows(0, weights.rows, values.data());
    for (int64_t first = 0; first < std::ssize(values); first += kGroupSize) {
      const auto group = rounded_group(&weights.values[first], kGroupSize);
      ASSERT_TRUE(std::equal(group.begin(), group.end(), &values[first])) << linears[i]->name;
    }
  }
}

}  // namespace
}  // namespace salient::quantize
