#include "convert/packed_exporter.h"

#include "checkpoint/awq.h"
#include "core/dtype.h"
#include "tests/support/expect_error.h"
#include "tests/support/quantized_checkpoint.h"

namespace salient::convert {
namespace {

using checkpoint::Checkpoint;
using checkpoint::make_tensor;
using checkpoint::open_checkpoint;
using checkpoint::OutputTensor;
using checkpoint::PackedFormat;
using core::DType;
using core::ErrorKind;
using core::QuantizedTensor;
using tests::expect_error;
namespace fs = std::filesystem;

QuantizedTensor make_weights(int64_t in_features, int group_size, int seed) {
  QuantizedTensor weights;
  weights.out_features = 8;
  weights.in_features = in_features;
  weights.group_size = group_size;
  for (int64_t i = 0; i < 8 * in_features; ++i) weights.codes.push_back(static_cast<uint8_t>((i * 7 + seed) % 16));
  for (int64_t i = 0; i < 8 * weights.groups(); ++i) {
    weights.zeros.push_back(static_cast<uint8_t>((i + seed) % 16));
    weights.scales.push_back(0.25f * static_cast<float>(i + 1));
  }
  return weights;
}

/// A checkpoint in memory: the linears of two layers and a head, and dense tensors in a file.
class Exporter : public testing::Test {
 protected:
  Exporter() {
    const std::vector<OutputTensor> dense = {
        make_tensor("model.embed_tokens.weight", DType::kBF16, {2, 2}, std::vector<uint16_t>{0x3f80, 1, 2, 0x7f7f}),
        make_tensor("model.layers.0.mlp.up_proj.bias", DType::kF32, {8}, std::vector<float>(8, 0.1f)),
        make_tensor("model.layers.1.input_layernorm.weight", DType::kF32, {2}, std::vector<float>{0.1f, 1e-30f})};
    checkpoint::write_safetensors(folder_.path() / "dense.safetensors", dense);
    add_safetensors_file_to_source();
    add("model.layers.0.mlp.up_proj", make_weights(64, 32, 1));
    add("model.layers.1.mlp.up_proj", make_weights(64, 32, 2));
  }
  void add(const std::string& name, const QuantizedTensor& weights) { source_.quantized[name] = {core::hold(weights)}; }
  fs::path output() const { return folder_.path() / "output"; }
  PackedExportReport run(PackedFormat format, bool exact = true) {
    return export_packed(source_, {format, output(), exact, {}, {}});
  }
  void expect_refused(ErrorKind kind, const std::vector<std::string>& parts) {
    for (const PackedFormat format : {PackedFormat::kAwq, PackedFormat::kCompressedTensors}) {
      expect_error(kind, parts, [&] { run(format); });
      EXPECT_FALSE(fs::exists(output()));
      EXPECT_FALSE(fs::exists(output().string() + ".partial"));
    }
  }
  static std::vector<float> values(const QuantizedTensor& weights) {
    std::vector<float> result(weights.out_features * weights.in_features);
    weights.dequantize_rows(0, weights.out_features, result.data());
    return result;
  }
  Checkpoint source_;

 private:
  void add_safetensors_file_to_source() {
    tests::write_text(folder_.path() / "config.json", R"({"model_type": "llama"})");
    fs::rename(folder_.path() / "dense.safetensors", folder_.path() / "model.safetensors");
    source_ = open_checkpoint(folder_.path());
    source_.path = folder_.path() / "nowhere";
  }
  tests::TemporaryFolder folder_;
};

TEST_F(Exporter, ChangesNothing) {
  for (const PackedFormat format : {PackedFormat::kAwq, PackedFormat::kCompressedTensors}) {
    const PackedExportReport report = run(format);
    EXPECT_EQ(report.bits, 4);
    EXPECT_EQ(report.group_size, 32);
    const Checkpoint written = open_checkpoint(output());
    EXPECT_EQ(written.format, checkpoint::name_of(format));
    ASSERT_EQ(written.quantized.size(), 2u);
    for (const auto& [name, linear] : source_.quantized) {
      EXPECT_EQ(values(written.quantized.at(name).read()), values(linear.read())) << name;
    }
    for (const auto& [name, stored] : source_.tensors) {
      const core::TensorView& view = written.tensor(name).view;
      EXPECT_EQ(view.dtype, stored.view.dtype) << name;
      EXPECT_TRUE(std::equal(view.bytes.begin(), view.bytes.end(), stored.view.bytes.begin(), stored.view.bytes.end()))
          << name;
    }
    fs::remove_all(output());
  }
}

TEST_F(Exporter, LeavesOutZeroPointsWhereAllAreInTheMiddle) {
  for (auto& [name, linear] : source_.quantized) {
    QuantizedTensor weights = linear.read();
    weights.zeros.assign(weights.zeros.size(), 8);
    linear = {core::hold(weights)};
  }
  run(PackedFormat::kCompressedTensors);
  const Checkpoint written = open_checkpoint(output());
  EXPECT_FALSE(written.has("model.layers.0.mlp.up_proj.weight_zero_point"));
  EXPECT_EQ(values(written.quantized.at("model.layers.0.mlp.up_proj").read()),
            values(source_.quantized.at("model.layers.0.mlp.up_proj").read()));
}

TEST_F(Exporter, DividesLargerGroupsIntoTheSmallest) {
  add("model.layers.1.mlp.down_proj", make_weights(128, 128, 3));
  EXPECT_EQ(run(PackedFormat::kAwq).group_size, 32);
  const QuantizedTensor written = open_checkpoint(output()).quantized.at("model.layers.1.mlp.down_proj").read();
  EXPECT_EQ(written.group_size, 32);
  EXPECT_EQ(values(written), values(make_weights(128, 128, 3)));
}

TEST_F(Exporter, MakesAQuantizedHeadDense) {
  add("lm_head", make_weights(64, 32, 4));
  run(PackedFormat::kAwq);
  const Checkpoint written = open_checkpoint(output());
  EXPECT_EQ(written.tensor("lm_head.weight").view.dtype, DType::kF32);
  std::vector<float> read(8 * 64);
  written.matrix("lm_head.weight", 8, 64).read_rows(0, 8, read.data());
  EXPECT_EQ(read, values(make_weights(64, 32, 4)));
}

TEST_F(Exporter, NamesDenseLinearsOfLayers) {
  const auto embeddings = source_.tensors.at("model.embed_tokens.weight");
  source_.tensors["model.layers.1.mlp.gate_proj.weight"] = embeddings;
  run(PackedFormat::kAwq);
  EXPECT_EQ(open_checkpoint(output()).config["quantization_config"]["modules_to_not_convert"],
            nlohmann::json::array({"model.layers.1.mlp.gate_proj"}));
}

TEST_F(Exporter, SaysWhatTheFormatsCannotHoldOrRefusesItAndLeavesNothing) {
  const auto expect_change = [&](const QuantizedTensor& weights, const std::string& cause, double most_steps) {
    add("model.layers.1.mlp.up_proj", weights);
    expect_refused(ErrorKind::kUnsupported, {"nowhere: tensor model.layers.1.mlp.up_proj", "exactly", cause});
    for (const PackedFormat format : {PackedFormat::kAwq, PackedFormat::kCompressedTensors}) {
      const PackedExportReport report = run(format, /*exact=*/false);
      ASSERT_EQ(report.changes.size(), 1u) << cause;
      EXPECT_EQ(report.changes[0].linear, "model.layers.1.mlp.up_proj");
      EXPECT_LE(report.changes[0].largest_steps, most_steps) << cause;
      const auto written = values(open_checkpoint(output()).quantized.at("model.layers.1.mlp.up_proj").read());
      EXPECT_NE(written, values(weights));
      fs::remove_all(output());
    }
  };
  const auto changed = [](auto change) {
    QuantizedTensor weights = make_weights(64, 32, 2);
    change(weights);
    return weights;
  };
  expect_change(changed([](auto& w) { w.zeros[5] = 16; }), "zero point", 1);
  expect_change(changed([](auto& w) { w.scales[5] = 0.1f; }), "fp16", 0.01);
  expect_change(changed([](auto& w) {
                  for (int32_t i = 0; i < 64; ++i) w.column_input.push_back(i * 5 % 64);
                }),
                "act-order", 1.5);
  expect_change(changed([](auto& w) {
                  w.offsets.assign(w.zeros.size(), -0.6f);
                  w.zeros.clear();
                }),
                "offsets", 1.5);
  expect_change(changed([](auto& w) {
                  w.bits = 8;
                  for (size_t i = 0; i < w.codes.size(); ++i) w.codes[i] = static_cast<uint8_t>(i * 37);
                }),
                "8 bits", 1.5);
}

TEST_F(Exporter, RefusesGroupsThatDoNotDivideTheInputs) {
  add("model.layers.1.mlp.up_proj", make_weights(96, 48, 2));
  add("model.layers.1.mlp.down_proj", make_weights(80, 16, 2));
  add("model.layers.1.mlp.gate_proj", make_weights(72, 24, 2));
  expect_refused(ErrorKind::kUnsupported, {"model.layers.1.mlp.gate_proj", "72 inputs", "groups of 16"});
}

TEST_F(Exporter, RefusesAModelWithoutQuantizedLinears) {
  source_.quantized.clear();
  expect_refused(ErrorKind::kInvalidInput, {"no quantized linears", "salient quantize"});
}

TEST_F(Exporter, StopsWhenAskedTo) {
  std::stop_source stop;
  stop.request_stop();
  expect_error(ErrorKind::kCancelled, {"interrupted"}, [&] {
    export_packed(source_, {PackedFormat::kAwq, output(), true, {}, stop.get_token()});
  });
  EXPECT_FALSE(fs::exists(output().string() + ".partial"));
}

TEST_F(Exporter, KeepsAFolderThatExists) {
  fs::create_directory(output());
  tests::write_text(output() / "mine", "text");
  expect_error(ErrorKind::kInvalidInput, {"exists already"}, [&] { run(PackedFormat::kAwq); });
  EXPECT_EQ(tests::read_text(output() / "mine"), "text");
}

}  // namespace
}  // namespace salient::convert
