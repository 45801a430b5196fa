#include "convert/onnx_exporter.h"

#include <cmath>

#include "checkpoint/onnx_graph.h"
#include "checkpoint/safetensors.h"
#include "convert/onnx_graph_builder.h"
#include "convert/packed_exporter.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_quantized.h"

namespace salient::convert {
namespace {

using checkpoint::Checkpoint;
using checkpoint::OnnxModel;
using checkpoint::OnnxNode;
using core::ErrorKind;
using core::QuantizedTensor;
using tests::expect_error;
using tests::make_quantized;
namespace fs = std::filesystem;

class OnnxExporter : public testing::Test {
 protected:
  fs::path output() const { return folder_.path() / "output"; }
  void use(const tests::TinyShape& shape) { source_ = tests::open_tiny_quantized(folder_.path() / "untied", shape); }
  OnnxExportReport run(OnnxLayout layout = OnnxLayout::kCpu) {
    fs::remove_all(output());
    const model::Decoder decoder(std::make_shared<Checkpoint>(source_));
    return export_onnx(decoder, {layout, {}, output(), /*exact=*/true, {}, {}});
  }
  OnnxModel graph() const { return checkpoint::read_onnx(output() / "model.onnx"); }
  static const OnnxNode& node(const OnnxModel& model, const std::string& name) {
    for (const OnnxNode& found : model.graph.nodes) {
      if (found.name == name) return found;
    }
    throw std::runtime_error("no node " + name);
  }
  static int count(const OnnxModel& model, const std::string& op) {
    int found = 0;
    for (const OnnxNode& made : model.graph.nodes) found += made.op == op;
    return found;
  }
  void expect_refused(const std::vector<std::string>& parts, OnnxLayout layout = OnnxLayout::kCpu) {
    expect_error(ErrorKind::kUnsupported, parts, [&] { run(layout); });
    EXPECT_FALSE(fs::exists(output()));
    EXPECT_FALSE(fs::exists(output().string() + ".partial"));
  }
  /// Adds the norms of queries and keys that Qwen3 has.
  void make_qwen3() {
    std::vector<checkpoint::OutputTensor> norms;
    for (int64_t i = 0; i < 2; ++i) {
      for (const char* name : {"q_norm", "k_norm"}) {
        norms.push_back(checkpoint::make_f16_tensor(fmt::format("model.layers.{}.self_attn.{}.weight", i, name), {16},
                                                    std::vector<float>(16, 0.75f)));
      }
    }
    checkpoint::write_safetensors(folder_.path() / "norms.safetensors", norms);
    checkpoint::add_safetensors_file(folder_.path() / "norms.safetensors", source_.tensors);
    source_.config["model_type"] = "qwen3";
  }

  /// Makes it a Phi-2: other names, biases of norms, no gate, one norm a layer.
  void make_phi() {
    std::vector<checkpoint::OutputTensor> biases;
    const auto add_bias = [&](const std::string& name) {
      biases.push_back(checkpoint::make_f16_tensor(name + ".bias", {64}, std::vector<float>(64, 0.125f)));
    };
    for (int64_t i = 0; i < 2; ++i) {
      const std::string prefix = model::layer_prefix(i);
      add_bias(prefix + "input_layernorm");
      source_.tensors.erase(prefix + "post_attention_layernorm.weight");
      source_.quantized.erase(prefix + "mlp.gate_proj");
      for (const auto& [from, to] : {std::pair("self_attn.o_proj", "self_attn.dense"),
                                     {"mlp.up_proj", "mlp.fc1"},
                                     {"mlp.down_proj", "mlp.fc2"}}) {
        source_.quantized[prefix + to] = source_.quantized.at(prefix + from);
        source_.quantized.erase(prefix + from);
      }
    }
    add_bias("model.final_layernorm");
    source_.tensors["model.final_layernorm.weight"] = source_.tensors.at("model.norm.weight");
    source_.tensors.erase("model.norm.weight");
    checkpoint::write_safetensors(folder_.path() / "biases.safetensors", biases);
    checkpoint::add_safetensors_file(folder_.path() / "biases.safetensors", source_.tensors);
    source_.config["model_type"] = "phi";
    source_.config["hidden_act"] = "gelu_new";
    source_.config["layer_norm_eps"] = 1e-5;
    source_.config.erase("rms_norm_eps");
  }

  tests::TemporaryFolder folder_;
  Checkpoint source_ = tests::open_tiny_quantized(folder_.path() / "tied");
};

TEST_F(OnnxExporter, ChangesNoQuantizedLinear) {
  tests::quantize_linear(source_, "model.layers.1.mlp.down_proj", make_quantized(64, 128, 128, 90, 8));
  for (const OnnxLayout layout : {OnnxLayout::kCpu, OnnxLayout::kDml}) {
    run(layout);
    const Checkpoint written = checkpoint::open_checkpoint(output());
    EXPECT_EQ(written.format, "onnx");
    ASSERT_EQ(written.quantized.size(), source_.quantized.size());
    for (const auto& [name, linear] : source_.quantized) {
      const QuantizedTensor before = linear.read();
      const QuantizedTensor after = written.quantized.at(name).read();
      EXPECT_EQ(after.bits, before.bits) << name;
      EXPECT_EQ(after.group_size, before.group_size) << name;
      EXPECT_EQ(after.codes, before.codes) << name;
      EXPECT_EQ(after.scales, before.scales) << name;
      EXPECT_EQ(after.zeros, before.zeros) << name;
    }
  }
}

TEST_F(OnnxExporter, KeepsDenseWeightsThatTheNumbersHold) {
  for (const bool tied : {true, false}) {
    if (!tied) use({.tied = false});
    for (const OnnxLayout layout : {OnnxLayout::kCpu, OnnxLayout::kDml}) {
      run(layout);
      const model::Decoder written(std::make_shared<Checkpoint>(checkpoint::open_checkpoint(output())));
      const model::Decoder before(std::make_shared<Checkpoint>(source_));
      EXPECT_EQ(written.spec().tied_embeddings, tied);
      std::vector<float> expected(256 * 64);
      std::vector<float> found(256 * 64);
      for (const auto part : {&model::Decoder::embeddings, &model::Decoder::head}) {
        (before.*part)().read_rows(0, 256, expected.data());
        (written.*part)().read_rows(0, 256, found.data());
        EXPECT_EQ(found, expected);
      }
      EXPECT_EQ(written.final_norm().weight, before.final_norm().weight);
      EXPECT_EQ(written.layer(1).norms.mlp.weight, before.layer(1).norms.mlp.weight);
    }
  }
}

TEST_F(OnnxExporter, KeepsTheRotaryFrequenciesToTheBit) {
  source_.config["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"rope_theta", 500000.0}};
  run();
  const model::Decoder written(std::make_shared<Checkpoint>(checkpoint::open_checkpoint(output())));
  const model::Rope expected = model::Decoder(std::make_shared<Checkpoint>(source_)).spec().ropes[0];
  EXPECT_EQ(written.spec().ropes[0].frequencies, expected.frequencies);
  EXPECT_EQ(written.spec().ropes[0].magnitude, expected.magnitude);
  EXPECT_NE(expected.magnitude, 1);
}

TEST_F(OnnxExporter, WritesOneLinearOfThreeForTheCpu) {
  run();
  const OnnxModel model = graph();
  const OnnxNode& qkv = node(model, "/model/layers.0/attn/qkv_proj/MatMulNBits");
  EXPECT_EQ(qkv.attributes.at("N").integer, 64 + 2 * 32);
  EXPECT_EQ(qkv.attributes.at("K").integer, 64);
  EXPECT_EQ(qkv.attributes.at("bits").integer, 4);
  EXPECT_EQ(qkv.attributes.at("block_size").integer, 32);
  EXPECT_EQ(qkv.attributes.at("accuracy_level").integer, 4);
  const OnnxNode& attention = node(model, "/model/layers.0/attn/GroupQueryAttention");
  EXPECT_EQ(attention.input(0), qkv.outputs[0]);
  EXPECT_EQ(attention.input(1), "");
  EXPECT_EQ(attention.input(7), "cos_cache");
  EXPECT_EQ(attention.attributes.at("do_rotary").integer, 1);
  EXPECT_EQ(attention.attributes.at("local_window_size").integer, -1);
  EXPECT_FALSE(attention.attributes.contains("softcap"));
  EXPECT_FALSE(model.graph.inputs.contains("position_ids"));
  EXPECT_EQ(model.graph.initializers.at("cos_cache").shape, (std::vector<int64_t>{512, 8}));
  EXPECT_EQ(count(model, "com.microsoft.MatMulNBits"), 10);
  EXPECT_EQ(count(model, "com.microsoft.SkipSimplifiedLayerNormalization"), 4);
  EXPECT_EQ(node(model, "/lm_head/MatMul").op, "com.microsoft.FusedMatMul");
  EXPECT_EQ(node(model, "/lm_head/MatMul").input(1), node(model, "/model/embed_tokens/Gather").input(0));
}

TEST_F(OnnxExporter, WritesThreeLinearsAndRotaryNodesForDirectMl) {
  source_.config["partial_rotary_factor"] = 0.5;
  run(OnnxLayout::kDml);
  const OnnxModel model = graph();
  EXPECT_EQ(count(model, "com.microsoft.MatMulNBits"), 14);
  EXPECT_EQ(count(model, "com.microsoft.RotaryEmbedding"), 4);
  const OnnxNode& key = node(model, "/model/layers.1/attn/k_rotary/RotaryEmbedding");
  EXPECT_EQ(key.input(1), "position_ids");
  EXPECT_EQ(key.attributes.at("rotary_embedding_dim").integer, 8);
  EXPECT_EQ(key.attributes.at("num_heads").integer, 2);
  const OnnxNode& attention = node(model, "/model/layers.1/attn/GroupQueryAttention");
  EXPECT_EQ(attention.input(1), key.outputs[0]);
  EXPECT_EQ(attention.attributes.at("do_rotary").integer, 0);
  // Ones are counted in int32, not converted to it from int64 at the end.
  EXPECT_EQ(attention.input(5), "/model/attn_mask_reformat/attn_mask_subgraph/Sub/output_0");
  EXPECT_EQ(node(model, "/model/attn_mask_reformat/attn_mask_subgraph/ReduceSum").input(0),
            "/model/attn_mask_reformat/attn_mask_subgraph/Greater/Cast/output_0");
  for (const OnnxNode& found : model.graph.nodes) EXPECT_FALSE(found.attributes.contains("accuracy_level"));
  EXPECT_EQ(model.graph.initializers.at("cos_cache").dtype(), core::DType::kF16);
}

TEST_F(OnnxExporter, NormalizesInFloatForDirectMl) {
  make_qwen3();
  run(OnnxLayout::kDml);
  const OnnxModel model = graph();
  EXPECT_EQ(count(model, "com.microsoft.SkipSimplifiedLayerNormalization"), 0);
  EXPECT_EQ(count(model, "SimplifiedLayerNormalization"), 2 * 4 + 1);
  for (const OnnxNode& norm : model.graph.nodes) {
    if (norm.op != "SimplifiedLayerNormalization") continue;
    const OnnxNode& cast = node(model, norm.input(0).substr(0, norm.input(0).find("/output_0")));
    EXPECT_EQ(cast.op, "Cast");
    EXPECT_EQ(cast.attributes.at("to").integer, static_cast<int64_t>(checkpoint::OnnxElementType::kFloat));
    EXPECT_EQ(model.graph.initializers.at(norm.input(1)).dtype(), core::DType::kF16) << norm.name;
  }
  const OnnxNode& sum = node(model, "/model/layers.1/input_layernorm/Add");
  EXPECT_EQ(sum.input(0), node(model, "/model/layers.0/post_attention_layernorm/Add").outputs[0]);
  EXPECT_EQ(sum.input(1), node(model, "/model/layers.0/mlp/down_proj/MatMulNBits").outputs[0]);
}

TEST_F(OnnxExporter, WritesTheWindowOfEachLayer) {
  source_.config["model_type"] = "qwen2";
  source_.config["use_sliding_window"] = true;
  source_.config["sliding_window"] = 24;
  source_.config["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_TRUE(run().limits.empty());
  const OnnxModel model = graph();
  const auto window = [&](int layer) {
    const std::string name = fmt::format("/model/layers.{}/attn/GroupQueryAttention", layer);
    return node(model, name).attributes.at("local_window_size").integer;
  };
  EXPECT_EQ(window(0), 24);
  EXPECT_EQ(window(1), -1);
  const std::vector<std::string> limits = run(OnnxLayout::kDml).limits;
  ASSERT_EQ(limits.size(), 1u);
  EXPECT_NE(limits[0].find("windows of attention, as this model has of 24 tokens"), std::string::npos) << limits[0];
}

TEST_F(OnnxExporter, ChoosesTablesByTheLengthOfTheText) {
  const std::vector<double> ones(8, 1.0);
  const std::vector<double> fours(8, 4.0);
  source_.config["original_max_position_embeddings"] = 64;
  source_.config["rope_scaling"] = {{"type", "longrope"}, {"short_factor", ones}, {"long_factor", fours}};
  const model::Rope expected = model::Decoder(std::make_shared<Checkpoint>(source_)).spec().ropes[0];
  for (const OnnxLayout layout : {OnnxLayout::kCpu, OnnxLayout::kDml}) {
    run(layout);
    EXPECT_EQ(count(graph(), "If"), layout == OnnxLayout::kCpu ? 1 : 0);
    EXPECT_EQ(count(graph(), "ReduceMax"), layout == OnnxLayout::kCpu ? 0 : 1);
    const model::Decoder written(std::make_shared<Checkpoint>(checkpoint::open_checkpoint(output())));
    const model::Rope& found = written.spec().ropes[0];
    EXPECT_EQ(found.original_positions, 64);
    const float tolerance = layout == OnnxLayout::kCpu ? 0 : 1e-4f;
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_NEAR(found.frequencies[i], expected.frequencies[i], tolerance);
      EXPECT_NEAR(found.long_frequencies[i], expected.long_frequencies[i], tolerance);
    }
    EXPECT_NEAR(found.magnitude, expected.magnitude, layout == OnnxLayout::kCpu ? 0 : 1e-3f);
  }
}

TEST_F(OnnxExporter, NormalizesHeadsBeforeTheyTurn) {
  make_qwen3();
  run();
  const OnnxModel model = graph();
  EXPECT_EQ(node(model, "/model/layers.0/attn/GroupQueryAttention").input(1),
            "/model/layers.0/attn/k_norm/Reshape_2/output_0");
  EXPECT_EQ(count(model, "com.microsoft.MatMulNBits"), 14);
  const model::Decoder written(std::make_shared<Checkpoint>(checkpoint::open_checkpoint(output())));
  EXPECT_EQ(written.layer(1).norms.key.weight, std::vector<float>(16, 0.75f));
}

TEST_F(OnnxExporter, PutsAttentionAndMlpSideBySide) {
  make_phi();
  run();
  const OnnxModel model = graph();
  const std::string normed = node(model, "/model/layers.1/input_layernorm/SkipLayerNorm").outputs[0];
  EXPECT_EQ(node(model, "/model/layers.1/attn/qkv_proj/MatMulNBits").input(0), normed);
  EXPECT_EQ(node(model, "/model/layers.1/mlp/fc1/MatMulNBits").input(0), normed);
  EXPECT_EQ(count(model, "com.microsoft.SkipLayerNormalization"), 2);
  EXPECT_EQ(count(model, "com.microsoft.FastGelu"), 2);
  const Checkpoint written = checkpoint::open_checkpoint(output());
  ASSERT_EQ(written.quantized.size(), source_.quantized.size());
  for (const auto& [name, linear] : source_.quantized) {
    EXPECT_EQ(written.quantized.at(name).read().codes, linear.read().codes) << name;
  }
  EXPECT_EQ(written.config["layer_norm_eps"], 1e-5);
  EXPECT_EQ(written.vector("model.layers.1.input_layernorm.bias", 64), std::vector<float>(64, 0.125f));
  EXPECT_EQ(written.vector("model.final_layernorm.weight", 64), source_.vector("model.final_layernorm.weight", 64));
}

TEST_F(OnnxExporter, LeavesApartWhatIsQuantizedInDifferentWays) {
  tests::quantize_linear(source_, "model.layers.0.self_attn.k_proj", make_quantized(32, 64, 64, 5));
  run();
  const OnnxModel model = graph();
  EXPECT_EQ(node(model, "/model/layers.0/attn/k_proj/MatMulNBits").attributes.at("block_size").integer, 64);
  EXPECT_EQ(node(model, "/model/layers.1/attn/qkv_proj/MatMulNBits").attributes.at("N").integer, 128);
  EXPECT_EQ(checkpoint::open_checkpoint(output()).quantized.at("model.layers.0.self_attn.k_proj").group_size, 64);
}

TEST_F(OnnxExporter, PutsInputsInTheOrderOfTheColumns) {
  const std::string prefix = "model.layers.0.self_attn.";
  QuantizedTensor order = make_quantized(64, 64, 32, 5);
  for (int i = 0; i < 64; ++i) order.column_input.push_back(i * 5 % 64);
  for (const char* name : {"q_proj", "o_proj"}) tests::quantize_linear(source_, prefix + name, order);
  run();
  EXPECT_EQ(node(graph(), "/model/layers.0/attn/q_proj/MatMulNBits").input(0),
            "/model/layers.0/attn/q_proj/Gather/output_0");
  const Checkpoint written = checkpoint::open_checkpoint(output());
  for (const char* name : {"q_proj", "o_proj"}) {
    const QuantizedTensor found = written.quantized.at(prefix + name).read();
    EXPECT_EQ(found.column_input, order.column_input);
    EXPECT_EQ(found.codes, order.codes);
  }
  EXPECT_TRUE(written.quantized.at(prefix + "k_proj").read().column_input.empty());
}

TEST_F(OnnxExporter, GivesTheWayBackToAwq) {
  run();
  const auto back = folder_.path() / "back";
  export_packed(checkpoint::open_checkpoint(output()), {checkpoint::PackedFormat::kAwq, back, /*exact=*/true, {}, {}});
  const Checkpoint written = checkpoint::open_checkpoint(back);
  for (const auto& [name, linear] : source_.quantized) {
    EXPECT_EQ(written.quantized.at(name).read().codes, linear.read().codes) << name;
    EXPECT_EQ(written.quantized.at(name).read().zeros, linear.read().zeros) << name;
  }
  std::vector<float> expected(256 * 64);
  std::vector<float> found(256 * 64);
  source_.matrix("model.embed_tokens.weight", 256, 64).read_rows(0, 256, expected.data());
  written.matrix("model.embed_tokens.weight", 256, 64).read_rows(0, 256, found.data());
  EXPECT_EQ(found, expected);
}

TEST_F(OnnxExporter, RefusesWhatAGraphCannotHoldAndLeavesNothing) {
  const std::string name = "model.layers.1.mlp.up_proj";
  QuantizedTensor weights = make_quantized(128, 64, 32, 5);
  weights.scales[5] = 0.1f;
  tests::quantize_linear(source_, name, weights);
  expect_refused({"tied: tensor model.layers.1.mlp.up_proj", "ONNX does not hold it exactly", "fp16"},
                 OnnxLayout::kDml);
  run(OnnxLayout::kCpu);
  EXPECT_EQ(checkpoint::open_checkpoint(output()).quantized.at(name).read().scales[5], 0.1f);
}

TEST_F(OnnxExporter, RefusesNumbersTooLargeForDirectMl) {
  // bf16 0x4e4e is 8.6e8.
  const std::vector<checkpoint::OutputTensor> norm = {
      {"norm", core::DType::kBF16, {64}, std::vector<std::byte>(128, std::byte{0x4e})}};
  checkpoint::write_safetensors(folder_.path() / "norm.safetensors", norm);
  std::map<std::string, checkpoint::StoredTensor> tensors;
  checkpoint::add_safetensors_file(folder_.path() / "norm.safetensors", tensors);
  source_.tensors["model.layers.1.post_attention_layernorm.weight"] = tensors.at("norm");
  expect_refused({"tensor model.layers.1.post_attention_layernorm.weight", "too large for fp16"}, OnnxLayout::kDml);
  run(OnnxLayout::kCpu);
}

TEST_F(OnnxExporter, RefusesArchitecturesWithoutAGraph) {
  model::DecoderSpec spec = model::Decoder(std::make_shared<Checkpoint>(source_)).spec();
  const auto check = [&](OnnxLayout layout) { check_graph_can_be_built(spec, layout, "model"); };
  spec.ropes.push_back(spec.ropes[0]);
  EXPECT_NO_THROW(check(OnnxLayout::kCpu));
  spec.ropes[1].rotary_dim = 8;
  EXPECT_NO_THROW(check(OnnxLayout::kDml));
  expect_error(ErrorKind::kUnsupported, {"model: 8 dimensions of a head turn", "multiple of 16"},
               [&] { check(OnnxLayout::kCpu); });
  spec.ropes[1] = spec.ropes[0];
  spec.ropes[1].long_frequencies = spec.ropes[1].frequencies;
  spec.ropes[1].original_positions = 64;
  expect_error(ErrorKind::kUnsupported, {"model: has several rotary embeddings"}, [&] { check(OnnxLayout::kCpu); });
  spec.max_positions = 1'000'001;
  expect_error(ErrorKind::kUnsupported, {"model: max_position_embeddings is 1000001"},
               [&] { check(OnnxLayout::kDml); });
}

TEST_F(OnnxExporter, StopsWhenAskedTo) {
  std::stop_source stop;
  const model::Decoder decoder(std::make_shared<Checkpoint>(source_));
  int64_t last = 0;
  const auto progress = [&](const core::Progress& step) {
    last = step.done;
    if (step.done == 2) stop.request_stop();
  };
  expect_error(ErrorKind::kCancelled, {"interrupted"}, [&] {
    export_onnx(decoder, {OnnxLayout::kCpu, {}, output(), true, progress, stop.get_token()});
  });
  EXPECT_EQ(last, 2);
  EXPECT_FALSE(fs::exists(output()));
  EXPECT_FALSE(fs::exists(output().string() + ".partial"));
}

TEST_F(OnnxExporter, KeepsAFolderThatExists) {
  fs::create_directory(output());
  tests::write_text(output() / "mine", "text");
  const model::Decoder decoder(std::make_shared<Checkpoint>(source_));
  expect_error(ErrorKind::kInvalidInput, {"exists already"}, [&] {
    export_onnx(decoder, {OnnxLayout::kCpu, {}, output(), true, {}, {}});
  });
  EXPECT_EQ(tests::read_text(output() / "mine"), "text");
}

}  // namespace
}  // namespace salient::convert
