#include "quantize/layer_widths.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "quantize/quantizer.h"
#include "runner/cpu_runner.h"
#include "tests/support/tiny_model.h"

namespace salient::quantize {
namespace {

/// A model and the same rounded to int4, whose layers can be put into it one by one.
class LayerWidthsTest : public testing::Test {
 protected:
  static constexpr int64_t kLayers = 4;

  void SetUp() override {
    tests::write_tiny_model(folder_.path() / "model", {.layers = kLayers, .tied = false});
    model_ = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder_.path() / "model"));
    decoder_ = std::make_shared<model::Decoder>(model_);
    QuantizeOptions options;
    options.steps = steps_of(Method::kRoundToNearest, /*clip=*/false);
    options.output = folder_.path() / "int4";
    quantize(decoder_, {}, options, pool_);
    rounded_ = checkpoint::open_checkpoint(options.output);
    for (int32_t text = 0; text < 2; ++text) {
      std::vector<int32_t> tokens;
      for (int32_t i = 0; i < 70 + text; ++i) tokens.push_back((i * 53 + text * 7) % 256);
      texts_.push_back(std::move(tokens));
    }
    source_.open = [this](int64_t layer, int bits) {
      std::vector<int> widths(kLayers, 16);
      widths[layer] = bits;
      return mixed(widths);
    };
    source_.int4_bytes = 1000;
    source_.extra_bytes = {100, 100, 100, 100};
  }

  /// The model with its 4-bit layers replaced; what else is asked for, 8 bits too, stays as it is.
  std::shared_ptr<const model::Decoder> mixed(const std::vector<int>& widths) const {
    auto checkpoint = std::make_shared<checkpoint::Checkpoint>(*model_);
    checkpoint->config = rounded_.config;
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      if (widths[layer] != 4) continue;
      const std::string prefix = model::layer_prefix(layer);
      const auto replace = [&](auto& entries, const auto& by) {
        std::erase_if(entries, [&](const auto& entry) { return entry.first.starts_with(prefix); });
        for (const auto& entry : by) {
          if (entry.first.starts_with(prefix)) entries.insert(entry);
        }
      };
      replace(checkpoint->tensors, rounded_.tensors);
      replace(checkpoint->quantized, rounded_.quantized);
    }
    return std::make_shared<model::Decoder>(checkpoint);
  }

  std::vector<std::vector<float>> logits_of(const std::shared_ptr<const model::Decoder>& decoder) {
    runner::CpuRunner runner(decoder, pool_, {.activations = runner::Activations::kFp32});
    std::vector<std::vector<float>> logits;
    for (const auto& text : texts_) {
      runner::Sequence sequence = runner.new_sequence();
      const runner::TokenRun run{text, &sequence, runner::Wanted::kAllLogits};
      logits.push_back(runner.forward(std::span(&run, 1)));
    }
    return logits;
  }

  /// Mean KL, in fp64 and from whole forward passes.
  double divergence_of(const std::vector<int>& widths) {
    constexpr int64_t kVocab = 256;
    const auto expected = logits_of(decoder_);
    const auto found = logits_of(mixed(widths));
    double sum = 0;
    int64_t tokens = 0;
    const auto log_sum = [](const float* x) {
      double total = 0;
      for (int64_t i = 0; i < kVocab; ++i) total += std::exp(static_cast<double>(x[i]));
      return std::log(total);
    };
    for (size_t text = 0; text < expected.size(); ++text) {
      for (size_t first = 0; first < expected[text].size(); first += kVocab, ++tokens) {
        const float* p = &expected[text][first];
        const float* q = &found[text][first];
        const double p_sum = log_sum(p);
        const double q_sum = log_sum(q);
        for (int64_t i = 0; i < kVocab; ++i) sum += std::exp(p[i] - p_sum) * (p[i] - p_sum - q[i] + q_sum);
      }
    }
    return sum / static_cast<double>(tokens);
  }

  LayerWidths choose(const WidthTarget& target) {
    return choose_widths(decoder_, source_, target, texts_, {}, {}, pool_);
  }

  tests::TemporaryFolder folder_;
  core::ThreadPool pool_{2};
  std::shared_ptr<const checkpoint::Checkpoint> model_;
  std::shared_ptr<const model::Decoder> decoder_;
  checkpoint::Checkpoint rounded_;
  std::vector<std::vector<int32_t>> texts_;
  WidthSource source_;
};

TEST_F(LayerWidthsTest, SensitivitiesAreTheDivergencesOfModelsWithOneQuantizedLayer) {
  const LayerWidths widths = choose({.bytes = 1000});
  EXPECT_EQ(widths.bits, std::vector<int>(kLayers, 4));
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    std::vector<int> alone(kLayers, 16);
    alone[layer] = 4;
    const double expected = divergence_of(alone);
    EXPECT_GT(expected, 1e-4);
    EXPECT_NEAR(widths.sensitivities[layer], expected, 1e-3 * expected);
  }
  EXPECT_NEAR(widths.divergence, divergence_of(widths.bits), 1e-3 * widths.divergence);
}

TEST_F(LayerWidthsTest, ASizeIsFilledWithTheLayersThatGainMostForAByte) {
  const std::vector<double> alone = choose({.bytes = 1000}).sensitivities;
  const auto most = std::max_element(alone.begin(), alone.end()) - alone.begin();
  std::vector<int> expected(kLayers, 4);
  expected[most] = 8;
  EXPECT_EQ(choose({.bytes = 1199}).bits, expected);
  source_.extra_bytes[most] = 1000000;  // now any other gains more for a byte, and this one has no room
  const std::vector<int> others = choose({.bytes = 1300}).bits;
  EXPECT_EQ(others[most], 4);
  EXPECT_EQ(std::count(others.begin(), others.end(), 8), 3);
}

TEST_F(LayerWidthsTest, ADivergenceTakesAsFewLayersAsItNeeds) {
  const LayerWidths none = choose({.divergence = 100});
  EXPECT_EQ(none.bits, std::vector<int>(kLayers, 4));
  const LayerWidths some = choose({.divergence = none.divergence / 2});
  EXPECT_LE(some.divergence, none.divergence / 2);
  const auto wide = std::count(some.bits.begin(), some.bits.end(), 8);
  EXPECT_GT(wide, 0);
  // One layer fewer, that with the least to gain, is not enough.
  int64_t last = -1;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    if (some.bits[layer] == 8 && (last < 0 || some.sensitivities[layer] < some.sensitivities[last])) last = layer;
  }
  std::vector<int> fewer = some.bits;
  fewer[last] = 4;
  EXPECT_GT(divergence_of(fewer), none.divergence / 2);
}

TEST_F(LayerWidthsTest, WhatIsOutOfReachIsRefusedWithWhatIsNot) {
  try {
    choose({.bytes = 999});
    ADD_FAILURE() << "it was taken";
  } catch (const core::Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "a size of 999 bytes is out of reach: with all layers in int4 it is 1000 bytes");
  }
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(choose_widths(decoder_, source_, {.bytes = 2000}, texts_, {}, stop.get_token(), pool_), core::Error);
}

}  // namespace
}  // namespace salient::quantize
