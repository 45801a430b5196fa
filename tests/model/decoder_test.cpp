#include "model/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "checkpoint/awq.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace salient::model {
namespace {

using checkpoint::OutputTensor;
using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;
using tests::TinyShape;

class DecoderTest : public testing::Test {
 protected:
  Decoder open(const std::vector<OutputTensor>& tensors, const json& config) const {
    tests::write_text(folder_.path() / "config.json", config.dump());
    checkpoint::write_safetensors(folder_.path() / "model.safetensors", tensors);
    return Decoder(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder_.path())));
  }
  Decoder open(const TinyShape& shape = {}) const {
    return open(tests::tiny_tensors(shape), tests::tiny_config(shape));
  }

  /// The tiny model with one field of its config changed.
  void expect_refused(const std::string& field, const json& value, const std::vector<std::string>& parts,
                      ErrorKind kind = ErrorKind::kInvalidInput) const {
    json config = tests::tiny_config({});
    config[field] = value;
    expect_error(kind, parts, [&] { open(tests::tiny_tensors({}), config); });
  }

 private:
  tests::TemporaryFolder folder_;
};

TEST_F(DecoderTest, HasTheWeightsUnderTheNamesOfTheArchitecture) {
  const Decoder decoder = open();
  EXPECT_EQ(decoder.spec().layers, 2);
  const DecoderLayer layer = decoder.layer(1);
  for (const LinearSlot& slot : linear_slots(decoder.spec())) {
    const core::LinearWeights& weights = layer.*slot.weights;
    EXPECT_EQ(weights.out_features(), slot.out_features) << slot.name;
    EXPECT_EQ(weights.in_features(), slot.in_features) << slot.name;
    std::vector<float> found(slot.in_features);
    std::vector<float> expected(slot.in_features);
    weights.read_rows(3, 1, found.data());
    decoder.checkpoint()
        .matrix(std::string("model.layers.1.") + slot.name + ".weight", slot.out_features, slot.in_features)
        .read_rows(3, 1, expected.data());
    EXPECT_EQ(found, expected) << slot.name;
  }
  EXPECT_EQ(layer.norms.attention.weight, decoder.checkpoint().vector("model.layers.1.input_layernorm.weight", 64));
  EXPECT_EQ(layer.norms.mlp.weight, decoder.checkpoint().vector("model.layers.1.post_attention_layernorm.weight", 64));
  EXPECT_EQ(decoder.final_norm().weight, decoder.checkpoint().vector("model.norm.weight", 64));
}

TEST_F(DecoderTest, ListsTheLinearsInTheOrderOfTheirUse) {
  DecoderSpec spec;
  spec.hidden_size = 5;
  spec.intermediate_size = 7;
  spec.heads = 4;
  spec.kv_heads = 2;
  spec.head_dim = 3;
  std::vector<std::string> described;
  for (const LinearSlot& slot : linear_slots(spec)) {
    described.push_back(fmt::format("{} [{}, {}]", slot.name, slot.out_features, slot.in_features));
  }
  EXPECT_EQ(described,
            (std::vector<std::string>{"self_attn.q_proj [12, 5]", "self_attn.k_proj [6, 5]", "self_attn.v_proj [6, 5]",
                                      "self_attn.o_proj [5, 12]", "mlp.gate_proj [7, 5]", "mlp.up_proj [7, 5]",
                                      "mlp.down_proj [5, 7]"}));
}

/// Row 9 of a matrix.
std::vector<float> row_of(const core::LinearWeights& weights) {
  std::vector<float> row(weights.in_features());
  weights.read_rows(9, 1, row.data());
  return row;
}

TEST_F(DecoderTest, WithTiedEmbeddingsHasThemForItsHead) {
  const Decoder decoder = open();
  EXPECT_EQ(decoder.head().out_features(), 256);
  EXPECT_EQ(row_of(decoder.head()), row_of(decoder.embeddings()));
}

TEST_F(DecoderTest, WithoutTiedEmbeddingsHasAHeadOfItsOwn) {
  TinyShape shape;
  shape.tied = false;
  const Decoder decoder = open(shape);
  EXPECT_NE(row_of(decoder.head()), row_of(decoder.embeddings()));
  EXPECT_EQ(row_of(decoder.head()), row_of({decoder.checkpoint().matrix("lm_head.weight", 256, 64), {}}));
}

TEST_F(DecoderTest, NamesAHeadThatIsMissing) {
  expect_refused("tie_word_embeddings", false, {"no tensor lm_head.weight"}, ErrorKind::kNotFound);
}

TEST_F(DecoderTest, NamesEveryTensorThatIsMissing) {
  const std::vector<OutputTensor> whole = tests::tiny_tensors({});
  for (size_t i = 0; i < whole.size(); ++i) {
    std::vector<OutputTensor> tensors = whole;
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
    expect_error(ErrorKind::kNotFound, {"has no tensor " + whole[i].name},
                 [&] { open(tensors, tests::tiny_config({})); });
  }
}

TEST_F(DecoderTest, RefusesAConfigThatDisagreesWithTheTensors) {
  expect_refused("vocab_size", 300, {"model.embed_tokens.weight", "[256, 64]", "[300, 64]"});
  expect_refused("hidden_size", 96, {"model.embed_tokens.weight", "[256, 64]", "[256, 96]"});
  expect_refused("intermediate_size", 64, {"model.layers.0.mlp.gate_proj.weight", "[128, 64]", "[64, 64]"});
  expect_refused("num_key_value_heads", 4, {"model.layers.0.self_attn.k_proj.weight", "[32, 64]", "[64, 64]"});
  expect_refused("head_dim", 32, {"model.layers.0.self_attn.q_proj.weight", "[64, 64]", "[128, 64]"});
}

TEST_F(DecoderTest, RefusesAnotherNumberOfLayers) {
  expect_refused("num_hidden_layers", 1, {"num_hidden_layers is 1", "model.layers.1.input_layernorm.weight"});
  expect_refused("num_hidden_layers", 3, {"no tensor model.layers.2.input_layernorm.weight"}, ErrorKind::kNotFound);
}

TEST_F(DecoderTest, RefusesAConfigThatItsSpecRefuses) {
  expect_refused("hidden_act", "gelu", {"hidden_act is \"gelu\""}, ErrorKind::kUnsupported);
}

TEST_F(DecoderTest, ReadsQuantizedLinears) {
  std::vector<OutputTensor> tensors = tests::tiny_tensors({});
  const std::string prefix = "model.layers.0.mlp.down_proj";
  std::erase_if(tensors, [&](const OutputTensor& tensor) { return tensor.name == prefix + ".weight"; });
  core::QuantizedTensor quantized;
  quantized.out_features = 64;
  quantized.in_features = 128;
  quantized.group_size = 32;
  quantized.codes.assign(64 * 128, 5);
  quantized.zeros.assign(64 * 4, 3);
  quantized.scales.assign(64 * 4, 0.5f);
  for (OutputTensor& tensor : checkpoint::pack_awq_linear(quantized, prefix)) tensors.push_back(std::move(tensor));
  json config = tests::tiny_config({});
  config["quantization_config"] = {{"quant_method", "awq"}, {"group_size", 32}};
  {
    // Windows does not replace the file of an open one.
    const Decoder decoder = open(tensors, config);
    EXPECT_EQ(row_of(decoder.layer(0).down), std::vector<float>(128, 1.0f));
    EXPECT_EQ(decoder.layer(1).down.quantized(), nullptr);
  }

  config["intermediate_size"] = 64;
  expect_error(ErrorKind::kInvalidInput, {"mlp.gate_proj.weight", "[128, 64]", "[64, 64]"},
               [&] { open(tensors, config); });
}

TEST_F(DecoderTest, LooksEmbeddingsUpWhereTheyAreStored) {
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(open().checkpoint());
  core::QuantizedTensor table;
  table.out_features = 256;
  table.in_features = 64;
  table.group_size = 64;
  table.codes.assign(256 * 64, 1);
  table.zeros.assign(256, 0);
  table.scales.assign(256, 1.0f);
  checkpoint->quantized["model.embed_tokens"] = {core::hold(table)};
  const Decoder decoder(checkpoint);
  EXPECT_EQ(decoder.embeddings().quantized(), nullptr);  // rows from the mapping
  EXPECT_NE(decoder.head().quantized(), nullptr);        // the whole, to multiply
}

}  // namespace
}  // namespace salient::model
