#include "model/synthetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "core/dtype.h"
#include "model/decoder.h"
#include "tests/support/expect_error.h"

namespace salient::model {
namespace {

/// A named shape, made small.
nlohmann::json small_config(const std::string& name) {
  nlohmann::json config = synthetic_config(name);
  config.update({{"hidden_size", 256},
                 {"intermediate_size", 384},
                 {"num_hidden_layers", 2},
                 {"num_attention_heads", 16},
                 {"num_key_value_heads", 4},
                 {"vocab_size", 300}});
  return config;
}

Decoder small_decoder(const std::string& name) {
  return Decoder(std::make_shared<checkpoint::Checkpoint>(make_synthetic(name, small_config(name))));
}

TEST(SyntheticConfig, HasTheParametersOfThePublishedModels) {
  // Matrices of the published models, counted from their config.json; norms are 2 * layers + 1 rows of hidden_size.
  const std::map<std::string, int64_t> published = {
      {"phi-3-mini", 3821079552}, {"mistral-7b", 7241732096}, {"phi-3-medium", 13960238080}};
  ASSERT_EQ(synthetic_names().size(), published.size());
  for (const auto& [name, parameters] : published) {
    const checkpoint::Checkpoint made = make_synthetic(name, synthetic_config(name));
    int64_t count = 0;
    for (const auto& [linear, stored] : made.quantized) count += stored.out_features * stored.in_features;
    for (const auto& [matrix, dense] : made.matrices) count += dense.out_features * dense.in_features;
    for (const auto& [tensor, stored] : made.tensors) count += stored.view.shape[0];
    EXPECT_EQ(count, parameters) << name;
    EXPECT_NO_THROW(Decoder(std::make_shared<checkpoint::Checkpoint>(made))) << name;
  }
}

TEST(SyntheticConfig, RefusesOtherNames) {
  tests::expect_error(core::ErrorKind::kNotFound, {"phi-4", "mistral-7b, phi-3-medium, phi-3-mini"},
                      [] { synthetic_config("phi-4"); });
}

TEST(Synthetic, FusesWhatTheFamilyFuses) {
  const auto phi = make_synthetic("small", small_config("phi-3-mini"));
  EXPECT_EQ(phi.quantized.at("model.layers.1.self_attn.qkv_proj").out_features, 256 + 2 * 4 * 16);
  EXPECT_EQ(phi.quantized.at("model.layers.1.mlp.gate_up_proj").out_features, 2 * 384);
  const auto mistral = make_synthetic("small", small_config("mistral-7b"));
  EXPECT_EQ(mistral.quantized.at("model.layers.0.self_attn.k_proj").out_features, 4 * 16);
  EXPECT_EQ(mistral.quantized.size(), 2 * 7u);
}

TEST(Synthetic, IsTheSameEveryTimeAndDifferentEverywhere) {
  const auto first = make_synthetic("small", small_config("mistral-7b"));
  const auto second = make_synthetic("small", small_config("mistral-7b"));
  const std::string query = "model.layers.0.self_attn.q_proj";
  const core::QuantizedTensor weights = first.quantized.at(query).read();
  EXPECT_EQ(weights.codes, second.quantized.at(query).read().codes);
  EXPECT_EQ(weights.scales, second.quantized.at(query).read().scales);
  EXPECT_EQ(weights.zeros, second.quantized.at(query).read().zeros);
  EXPECT_NE(weights.codes, first.quantized.at("model.layers.1.self_attn.q_proj").read().codes);
  std::vector<float> rows(3 * 256);
  std::vector<float> row(256);
  const auto matrix = first.matrix("model.embed_tokens.weight", 300, 256);
  matrix.read_rows(7, 3, rows.data());
  matrix.read_rows(8, 1, row.data());
  EXPECT_TRUE(std::equal(row.begin(), row.end(), rows.begin() + 256));
  EXPECT_FALSE(std::equal(row.begin(), row.end(), rows.begin()));
}

TEST(Synthetic, UsesEveryCodeAndKeepsTheSizeOfItsInput) {
  const core::QuantizedTensor weights =
      make_synthetic("small", small_config("mistral-7b")).quantized.at("model.layers.0.mlp.down_proj").read();
  std::vector<int> counts(16);
  for (const uint8_t code : weights.codes) {
    ASSERT_LT(code, 16);
    ++counts[code];
  }
  // 98,304 codes: each of 16 is expected 6,144 times, with a deviation of 76.
  for (const int count : counts) EXPECT_NEAR(count, 6144, 6 * 76);
  std::vector<float> values(weights.codes.size());
  weights.dequantize_rows(0, weights.out_features, values.data());
  double squares = 0;
  for (const float value : values) squares += double{value} * value;
  const double gain = std::sqrt(squares / static_cast<double>(weights.out_features));
  EXPECT_GT(gain, 0.5);
  EXPECT_LT(gain, 1.5);
}

TEST(Synthetic, HoldsOnlyNumbersOfFp16) {
  const auto made = make_synthetic("small", small_config("phi-3-mini"));
  const auto is_half = [](float value) { return core::half_to_float(core::float_to_half(value)) == value; };
  const core::QuantizedTensor weights = made.quantized.at("model.layers.0.mlp.gate_up_proj").read();
  for (size_t i = 0; i < weights.scales.size(); ++i) {
    ASSERT_TRUE(is_half(weights.scales[i]));
    ASSERT_TRUE(is_half(weights.scales[i] * weights.zeros[i]));
  }
  std::vector<float> head(300 * 256);
  made.matrix("lm_head.weight", 300, 256).read_rows(0, 300, head.data());
  for (const float value : head) ASSERT_TRUE(is_half(value)) << value;
}

TEST(Synthetic, IsReadAsADecoder) {
  const Decoder decoder = small_decoder("phi-3-mini");
  const DecoderLayer layer = decoder.layer(1);
  EXPECT_EQ(layer.query.out_features(), 256);
  EXPECT_EQ(layer.value.out_features(), 64);
  EXPECT_EQ(layer.gate.out_features(), 384);
  EXPECT_EQ(layer.norms.mlp.weight, std::vector<float>(256, 1.0f));
}

TEST(Synthetic, RefusesInputsThatGroupsDoNotDivide) {
  nlohmann::json config = small_config("mistral-7b");
  config["intermediate_size"] = 200;
  tests::expect_error(core::ErrorKind::kUnsupported, {"mlp.down_proj", "200", "128"},
                      [&] { make_synthetic("small", config); });
}

}  // namespace
}  // namespace salient::model
