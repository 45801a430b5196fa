#include <gtest/gtest.h>

#include <memory>

#include "checkpoint/checkpoint.h"
#include "convert/gguf_exporter.h"
#include "convert/onnx_exporter.h"
#include "convert/packed_exporter.h"
#include "model/synthetic.h"
#include "tests/support/temporary_folder.h"
#include "text/tokenizer.h"

namespace salient::convert {
namespace {

/// A synthetic model exists to be run in other programs beside Salient: each format must hold it as it is.
class SyntheticExport : public testing::Test {
 protected:
  SyntheticExport() {
    nlohmann::json config = model::synthetic_config("phi-3-mini");
    config.update({{"hidden_size", 256},
                   {"intermediate_size", 384},
                   {"num_hidden_layers", 2},
                   {"num_attention_heads", 16},
                   {"num_key_value_heads", 4},
                   {"max_position_embeddings", 128},
                   {"vocab_size", 300}});
    source_ = std::make_shared<checkpoint::Checkpoint>(model::make_synthetic("small", config));
  }
  std::filesystem::path output() const { return folder_.path() / "output"; }

  /// The weights of a layer that was written and opened again are those of the source.
  void expect_same_layer() const {
    const model::DecoderLayer expected = model::Decoder(source_).layer(1);
    const auto opened = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(output()));
    const model::DecoderLayer found = model::Decoder(opened).layer(1);
    for (const auto linear : {&model::DecoderLayer::query, &model::DecoderLayer::up, &model::DecoderLayer::down}) {
      std::vector<float> wanted((expected.*linear).out_features() * (expected.*linear).in_features());
      std::vector<float> values(wanted.size());
      (expected.*linear).read_rows(0, (expected.*linear).out_features(), wanted.data());
      (found.*linear).read_rows(0, (expected.*linear).out_features(), values.data());
      EXPECT_EQ(values, wanted);
    }
    EXPECT_EQ(found.norms.attention.weight, expected.norms.attention.weight);
    // <s> is 1, and byte b is 3 + b.
    const text::Tokenizer tokenizer(opened->tokenizer_json, "small");
    EXPECT_EQ(tokenizer.encode("az", false), (std::vector<int32_t>{3 + 'a', 3 + 'z'}));
  }

  std::shared_ptr<checkpoint::Checkpoint> source_;

 private:
  tests::TemporaryFolder folder_;
};

TEST_F(SyntheticExport, AwqHoldsItExactly) {
  EXPECT_TRUE(export_packed(*source_, {checkpoint::PackedFormat::kAwq, output(), true, {}, {}}).changes.empty());
  expect_same_layer();
}

TEST_F(SyntheticExport, GgufHoldsItExactly) {
  const GgufExportReport report = export_gguf(model::Decoder(source_), {output(), true, {}, {}});
  EXPECT_TRUE(report.changes.empty());
  EXPECT_EQ(report.matrices.at("Q4_1"), 2 * 4);
  expect_same_layer();
}

TEST_F(SyntheticExport, OnnxHoldsItExactly) {
  EXPECT_TRUE(
      export_onnx(model::Decoder(source_), {OnnxLayout::kCpu, std::nullopt, output(), true, {}, {}}).changes.empty());
  expect_same_layer();
}

}  // namespace
}  // namespace salient::convert
