#include "checkpoint/onnx.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/checkpoint/onnx_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::BuiltGraphAttribute;
using tests::BuiltTensor;
using tests::DecoderGraph;
using tests::expect_error;
using tests::kOnnxHidden;
using tests::kOnnxRows;
using tests::kOnnxVocabulary;

class OnnxFolder : public testing::Test {
 protected:
  Checkpoint open(const json& config = tests::genai_config()) const {
    tests::write_onnx_folder(folder_.path(), graph_, config);
    return open_checkpoint(folder_.path());
  }
  void refuse(const std::vector<std::string>& parts, ErrorKind kind = ErrorKind::kUnsupported) const {
    std::vector<std::string> all = parts;
    all.push_back(folder_.path().string());
    expect_error(kind, all, [&] { open(); });
  }
  void refuse_config(const char* path, const json& value, const std::vector<std::string>& parts,
                     ErrorKind kind = ErrorKind::kInvalidInput) const {
    json config = tests::genai_config();
    config[json::json_pointer(path)] = value;
    expect_error(kind, parts, [&] { open(config); });
  }
  void replace_attribute(const std::string& node, const std::string& name, int64_t value) {
    graph_.node(node).attributes[name] = value;
  }

  tests::TemporaryFolder folder_;
  DecoderGraph graph_;
};

/// Rows [first, first + count) of a linear of DecoderGraph.
std::vector<float> expected_rows(const std::string& name, int64_t first, int64_t count, int zero = 8) {
  std::vector<float> values;
  for (int64_t row = first; row < first + count; ++row) {
    for (int64_t column = 0; column < 32; ++column) {
      values.push_back(static_cast<float>(DecoderGraph::code(name, row, column) - zero) * DecoderGraph::scale(row));
    }
  }
  return values;
}

std::vector<float> rows_of(const Checkpoint& checkpoint, const std::string& prefix, int64_t out, int64_t in) {
  const core::LinearWeights weights = checkpoint.linear(prefix, out, in);
  std::vector<float> values(static_cast<size_t>(out * in));
  for (int64_t row = 0; row < out; row += 3) weights.read_rows(row, std::min<int64_t>(3, out - row), &values[row * in]);
  return values;
}

TEST_F(OnnxFolder, IsSeenAsTransformersWouldNameIt) {
  tests::write_text(folder_.path() / "tokenizer.json", "{}");
  tests::write_text(folder_.path() / "chat_template.jinja", "template");
  const Checkpoint checkpoint = open();
  EXPECT_EQ(checkpoint.format, "onnx");
  EXPECT_EQ(checkpoint.tokenizer_json, "{}");
  EXPECT_EQ(checkpoint.tokenizer_config["chat_template"], "template");
  const json& config = checkpoint.config;
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["vocab_size"], kOnnxVocabulary);
  EXPECT_EQ(config["hidden_size"], kOnnxHidden);
  EXPECT_EQ(config["intermediate_size"], 32);
  EXPECT_EQ(config["num_hidden_layers"], 1);
  EXPECT_EQ(config["num_attention_heads"], 2);
  EXPECT_EQ(config["num_key_value_heads"], 1);
  EXPECT_EQ(config["head_dim"], 16);
  EXPECT_EQ(config["max_position_embeddings"], 64);
  EXPECT_EQ(config["rms_norm_eps"], 1e-5);
  EXPECT_EQ(config["hidden_act"], "silu");
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_FALSE(config.contains("sliding_window"));
  EXPECT_EQ(checkpoint.generation_config["eos_token_id"], json({2, 3}));
  EXPECT_EQ(checkpoint.generation_config["bos_token_id"], 1);
}

TEST_F(OnnxFolder, IsOneWithAConfigOfTransformersBesideIt) {
  tests::write_text(folder_.path() / "config.json", "{}");
  EXPECT_EQ(open().format, "onnx");
  tests::write_text(folder_.path() / "model.safetensors", "");
  EXPECT_FALSE(is_onnx_folder(folder_.path()));
}

TEST_F(OnnxFolder, HasTheGraphsWeights) {
  const Checkpoint checkpoint = open();
  const std::string layer = "model.layers.0.";
  EXPECT_EQ(rows_of(checkpoint, layer + "self_attn.q_proj", 32, 32), expected_rows("qkv", 0, 32));
  EXPECT_EQ(rows_of(checkpoint, layer + "self_attn.k_proj", 16, 32), expected_rows("qkv", 32, 16));
  EXPECT_EQ(rows_of(checkpoint, layer + "self_attn.v_proj", 16, 32), expected_rows("qkv", 48, 16));
  EXPECT_EQ(rows_of(checkpoint, layer + "self_attn.o_proj", 32, 32), expected_rows("o", 0, 32));
  EXPECT_EQ(rows_of(checkpoint, layer + "mlp.gate_proj", 32, 32), expected_rows("gate", 0, 32));
  EXPECT_EQ(rows_of(checkpoint, layer + "mlp.up_proj", 32, 32), expected_rows("up", 0, 32));
  EXPECT_EQ(rows_of(checkpoint, layer + "mlp.down_proj", 32, 32), expected_rows("down", 0, 32));
  EXPECT_EQ(rows_of(checkpoint, "lm_head", kOnnxVocabulary, 32), expected_rows("head", 0, kOnnxVocabulary));
  EXPECT_EQ(checkpoint.vector("model.norm.weight", 32)[3], 1 + 3.0f / 64);
  EXPECT_EQ(tests::raw_bytes(rows_of(checkpoint, "model.embed_tokens", kOnnxVocabulary, 32)),
            graph_.tensor("embed").raw);
  const core::LinearWeights linear = checkpoint.linear("lm_head", kOnnxVocabulary, 32);
  ASSERT_TRUE(linear.quantized());
  EXPECT_EQ(linear.quantized()->bits, 4);
  EXPECT_EQ(linear.quantized()->group_size, 32);
}

TEST_F(OnnxFolder, ReadsZeroPointsPackedOrAsNumbers) {
  std::string packed;  // two blocks of 16 a row: the low half of a byte is the first one's
  for (int row = 0; row < 32; ++row) packed += static_cast<char>((row % 16) | ((15 - row % 16) << 4));
  graph_.tensors.push_back({"o.zeros", tests::kOnnxUint8, {32}, packed, {}});
  graph_.node("/o").inputs.push_back("o.zeros");
  replace_attribute("/o", "block_size", 16);
  graph_.tensor("o.q").dims = {32, 2, 8};
  std::vector<float> scales(64);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<float>(i + 1) / 128;
  graph_.tensor("o.scales") = tests::float_tensor("o.scales", {64}, scales);  // as older builders write them
  const auto check = [&] {
    const auto values = rows_of(open(), "model.layers.0.self_attn.o_proj", 32, 32);
    for (int row = 0; row < 32; ++row) {
      for (int column = 0; column < 32; ++column) {
        const int zero = column < 16 ? row % 16 : 15 - row % 16;
        ASSERT_EQ(values[row * 32 + column],
                  static_cast<float>(DecoderGraph::code("o", row, column) - zero) * scales[row * 2 + column / 16]);
      }
    }
  };
  check();
  std::vector<float> numbers;
  for (int row = 0; row < 32; ++row) {
    numbers.push_back(static_cast<float>(row % 16));
    numbers.push_back(static_cast<float>(15 - row % 16));
  }
  graph_.tensor("o.zeros") = tests::float_tensor("o.zeros", {32, 2}, numbers);
  check();
  numbers[5] = 3.5f;
  graph_.tensor("o.zeros") = tests::float_tensor("o.zeros", {32, 2}, numbers);
  const Checkpoint checkpoint = open();
  expect_error(ErrorKind::kUnsupported, {"/o", "o.zeros", "zero point 3.5"},
               [&] { checkpoint.linear("model.layers.0.self_attn.o_proj", 32, 32).quantized()->read(); });
}

TEST_F(OnnxFolder, ReadsEightBits) {
  replace_attribute("/head", "bits", 8);
  std::string codes;
  for (int64_t i = 0; i < kOnnxVocabulary * 32; ++i) codes += static_cast<char>(i % 251);
  graph_.tensor("head.q") = {"head.q", tests::kOnnxUint8, {kOnnxVocabulary, 1, 32}, codes, {}};
  const auto values = rows_of(open(), "lm_head", kOnnxVocabulary, 32);
  for (int64_t i = 0; i < kOnnxVocabulary * 32; ++i) {
    ASSERT_EQ(values[i], static_cast<float>(i % 251 - 128) * DecoderGraph::scale(i / 32));
  }
}

TEST_F(OnnxFolder, KnowsWhetherActivationsMayBeRounded) {
  for (const int64_t level : {0, 4}) {
    replace_attribute("/o", "accuracy_level", level);
    EXPECT_FALSE(open().float_activations) << level;
  }
  for (const int64_t level : {1, 2, 3}) {
    replace_attribute("/o", "accuracy_level", level);
    EXPECT_TRUE(open().float_activations) << level;
  }
}

TEST_F(OnnxFolder, ReadsDenseLinearsAndBiases) {
  std::vector<float> weights;  // [inputs, outputs]
  for (int i = 0; i < 32 * 64; ++i) weights.push_back(static_cast<float>(i));
  graph_.tensor("qkv.q") = tests::float_tensor("qkv.q", {32, 64}, weights);
  auto& node = graph_.node("/qkv");
  node = {"MatMul", "/qkv", {"a", "qkv.q"}, {"qkv.product"}};
  std::vector<float> bias;
  for (int i = 0; i < 64; ++i) bias.push_back(static_cast<float>(i) / 8);
  graph_.tensors.push_back(tests::float_tensor("bias", {64}, bias));
  graph_.nodes.push_back({"Add", "/bias", {"qkv.product", "bias"}, {"qkv.out"}});
  const Checkpoint checkpoint = open();
  const core::LinearWeights key = checkpoint.linear("model.layers.0.self_attn.k_proj", 16, 32);
  EXPECT_EQ(key.bias, std::vector<float>(bias.begin() + 32, bias.begin() + 48));
  std::vector<float> row(32);
  key.read_rows(5, 1, row.data());
  for (int column = 0; column < 32; ++column) EXPECT_EQ(row[column], static_cast<float>(column * 64 + 37));
  expect_error(ErrorKind::kInvalidInput, {"k_proj.weight", "[16, 32]", "[16, 16]"},
               [&] { checkpoint.linear("model.layers.0.self_attn.k_proj", 16, 16); });
}

TEST_F(OnnxFolder, JoinsWhatThePhi3ArchitectureStoresAsOne) {
  json config = tests::genai_config();
  config["model"]["type"] = "phi3";
  const Checkpoint checkpoint = open(config);
  EXPECT_EQ(rows_of(checkpoint, "model.layers.0.self_attn.qkv_proj", 64, 32), expected_rows("qkv", 0, 64));
  auto expected = expected_rows("gate", 0, 32);
  const auto up = expected_rows("up", 0, 32);
  expected.insert(expected.end(), up.begin(), up.end());
  EXPECT_EQ(rows_of(checkpoint, "model.layers.0.mlp.gate_up_proj", 64, 32), expected);
}

TEST_F(OnnxFolder, KnowsEmbeddingsThatAreTheHead) {
  graph_.tensors.push_back(tests::integer_tensor("shape", {2}, {kOnnxVocabulary, 16}));
  graph_.nodes.push_back({"Reshape", "/reshape", {"head.q", "shape"}, {"table"}});
  graph_.node("/embed") = {
      "com.microsoft.GatherBlockQuantized",
      "/embed",
      {"table", "input_ids", "head.scales"},
      {"hidden"},
      {{"bits", int64_t{4}}, {"block_size", int64_t{32}}, {"gather_axis", int64_t{0}}, {"quantize_axis", int64_t{1}}}};
  const Checkpoint checkpoint = open();
  EXPECT_EQ(checkpoint.config["tie_word_embeddings"], true);
  EXPECT_EQ(rows_of(checkpoint, "model.embed_tokens", kOnnxVocabulary, 32), expected_rows("head", 0, kOnnxVocabulary));
}

TEST_F(OnnxFolder, ReadsAHeadThatMultipliesByTheRowsOfTheEmbeddings) {
  graph_.node("/head") = {
      "com.microsoft.FusedMatMul", "/head", {"c", "embed"}, {"logits"}, {{"transB", int64_t{1}}, {"alpha", 1.0f}}};
  EXPECT_EQ(open().config["tie_word_embeddings"], true);
  graph_.node("/head").attributes["alpha"] = 2.0f;
  refuse({"node /head", "more than multiply by the rows"});
  graph_.node("/head").attributes = {{"transB", int64_t{1}}, {"transA", int64_t{1}}};
  refuse({"node /head", "more than multiply by the rows"});
  graph_.node("/head").attributes = {};
  refuse({"node /head", "more than multiply by the rows"});
}

TEST_F(OnnxFolder, ReadsInputsInTheOrderOfTheColumns) {
  std::vector<int64_t> order;
  for (int64_t i = 0; i < 32; ++i) order.push_back(i * 3 % 32);
  graph_.tensors.push_back(tests::integer_tensor("order", {32}, order));
  graph_.nodes.push_back({"Gather", "/o/order", {"attended", "order"}, {"ordered"}, {{"axis", int64_t{-1}}}});
  graph_.node("/o").inputs[0] = "ordered";
  const core::QuantizedTensor weights = open().quantized.at("model.layers.0.self_attn.o_proj").read();
  EXPECT_EQ(std::vector<int64_t>(weights.column_input.begin(), weights.column_input.end()), order);
  order[1] = 0;
  graph_.tensor("order") = tests::integer_tensor("order", {32}, order);
  refuse({"node /o/order (Gather)", "32 inputs in another order"});
  order[1] = 32;
  graph_.tensor("order") = tests::integer_tensor("order", {32}, order);
  refuse({"node /o/order (Gather)", "32 inputs in another order"});
}

TEST_F(OnnxFolder, SaysThetaWhereItsTablesHavePlainFrequencies) {
  const json config = open().config;
  EXPECT_EQ(config["rope_theta"], 10000);
  EXPECT_EQ(config["rope_scaling"], nullptr);
  EXPECT_FALSE(config.contains("rope_parameters"));
}

TEST_F(OnnxFolder, ListsTheFrequenciesOfOtherTables) {
  const std::vector<float> frequencies = {1, 0.7f, 0.2f, 0.19f, 0.1f, 0.02f, 0.01f, 0.003f};
  graph_.tensor("cos") =
      tests::float_tensor("cos", {kOnnxRows, 8}, tests::rope_table(frequencies, kOnnxRows, 1, std::cos));
  graph_.tensor("sin") =
      tests::float_tensor("sin", {kOnnxRows, 8}, tests::rope_table(frequencies, kOnnxRows, 1, std::sin));
  const json rope = open().config["rope_parameters"];
  EXPECT_EQ(rope["rope_type"], "frequencies");
  EXPECT_EQ(rope["magnitude"], 1);
  ASSERT_EQ(rope["frequencies"].size(), 8u);
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(rope["frequencies"][i], frequencies[i], 2e-7 * frequencies[i]);
}

TEST_F(OnnxFolder, RecoversBothTablesOfACondition) {
  const auto frequencies = tests::rope_frequencies(10000, 8);
  std::vector<float> slow;
  for (const float frequency : frequencies) slow.push_back(frequency / 3);
  const auto branch = [&](const std::vector<float>& values, int64_t rows) {
    tests::BuiltGraph graph;
    graph.nodes = {
        tests::constant_node("c", tests::float_tensor("", {rows, 8}, tests::rope_table(values, rows, 1.25f, std::cos))),
        tests::constant_node("s",
                             tests::float_tensor("", {rows, 8}, tests::rope_table(values, rows, 1.25f, std::sin)))};
    graph.outputs = {"c", "s"};
    return BuiltGraphAttribute{graph.message()};
  };
  std::erase_if(graph_.tensors, [](const BuiltTensor& tensor) { return tensor.name == "cos" || tensor.name == "sin"; });
  graph_.tensors.push_back(tests::integer_tensor("limit", {}, {24}));
  graph_.nodes.push_back({"Greater", "/greater", {"total.long", "limit"}, {"long"}});
  graph_.nodes.push_back({"If",
                          "/if",
                          {"long"},
                          {"cos", "sin"},
                          {{"then_branch", branch(slow, 64)}, {"else_branch", branch(frequencies, 24)}}});
  const json config = open().config;
  EXPECT_EQ(config["original_max_position_embeddings"], 24);
  EXPECT_EQ(config["rope_theta"], 10000);
  const json& scaling = config["rope_scaling"];
  EXPECT_EQ(scaling["type"], "longrope");
  EXPECT_EQ(scaling["attention_factor"], 1.25);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(scaling["short_factor"][i], 1, 4e-7);
    EXPECT_NEAR(scaling["long_factor"][i], 3, 1e-6);
  }
}

TEST_F(OnnxFolder, RefusesTablesThatNoEmbeddingHas) {
  const auto values = tests::rope_table(tests::rope_frequencies(10000, 8), kOnnxRows, 1, std::cos);
  for (const float wrong : {0.5f, 40.0f, std::nanf("")}) {
    auto changed = values;
    changed[37 * 8 + 2] = wrong;
    graph_.tensor("cos") = tests::float_tensor("cos", {kOnnxRows, 8}, changed);
    refuse({"cos", "which no rotary embedding has"});
  }
  graph_.tensor("cos") = tests::float_tensor("cos", {1, 8}, std::vector<float>(8, 1));
  refuse({"/attention", "tables"});
}

TEST_F(OnnxFolder, SaysWhichTokensALayerSees) {
  json config = tests::genai_config();
  config["model"]["type"] = "mistral";
  replace_attribute("/attention", "local_window_size", 8);
  const json found = open(config).config;
  EXPECT_EQ(found["sliding_window"], 8);
  EXPECT_EQ(found["layer_types"], json({"sliding_attention"}));
  replace_attribute("/attention", "local_window_size", -1);
  EXPECT_FALSE(open(config).config.contains("sliding_window"));
}

TEST_F(OnnxFolder, RefusesNodesThatItDoesNotUnderstand) {
  graph_.node("/sigmoid").op = "Tanh";
  refuse({"node /product (Mul)", "no factor that is SiLU or GELU"});
  graph_ = DecoderGraph();
  graph_.node("/attention").op = "com.microsoft.MultiHeadAttention";
  refuse({"node /attention (com.microsoft.MultiHeadAttention)", "expected GroupQueryAttention"});
  graph_ = DecoderGraph();
  graph_.node("/qkv").op = "com.microsoft.MatMulBnb4";
  refuse({"node /qkv (com.microsoft.MatMulBnb4)", "where a linear is expected"});
  graph_ = DecoderGraph();
  graph_.nodes.push_back({"Relu", "/extra", {"b"}, {"extra"}});
  refuse({"node /extra (Relu)", "is not understood"});
  graph_ = DecoderGraph();
  graph_.node("/norm_b").op = "com.microsoft.SkipLayerNormalization";
  refuse({"node /norm_b (com.microsoft.SkipLayerNormalization)", "the weight or bias \"\""});
  graph_ = DecoderGraph();
  graph_.node("/lengths/sum").op = "ReduceMax";
  refuse({"node /lengths/sum (ReduceMax)"});
  graph_ = DecoderGraph();
  graph_.node("/up").inputs[0] = "a";
  refuse({"node /product (Mul)", "the same input"});
}

TEST_F(OnnxFolder, RefusesAttributesThatItDoesNotObey) {
  const auto refuse_attribute = [&](const std::string& node, const std::string& name, int64_t value,
                                    ErrorKind kind = ErrorKind::kUnsupported) {
    graph_ = DecoderGraph();
    replace_attribute(node, name, value);
    refuse({node, name}, kind);
  };
  refuse_attribute("/attention", "rotary_interleaved", 1);
  refuse_attribute("/attention", "smooth_softmax", 1);
  refuse_attribute("/attention", "local_window_size", 0);
  refuse_attribute("/attention", "do_rotary", 0);
  refuse_attribute("/attention", "num_heads", 0, ErrorKind::kInvalidInput);
  refuse_attribute("/o", "weight_prepacked", 1);
  refuse_attribute("/o", "bits", 2);
  refuse_attribute("/o", "bits", 9, ErrorKind::kInvalidInput);
  refuse_attribute("/o", "block_size", 0, ErrorKind::kInvalidInput);
  refuse_attribute("/o", "N", int64_t{1} << 40, ErrorKind::kInvalidInput);
  refuse_attribute("/o", "K", -32, ErrorKind::kInvalidInput);
  refuse_attribute("/o", "accuracy_level", 5, ErrorKind::kInvalidInput);
  graph_ = DecoderGraph();
  replace_attribute("/o", "N", 1000000);
  refuse({"/o", "o.q", "has 512 bytes, expected 16000000"}, ErrorKind::kInvalidInput);
  graph_ = DecoderGraph();
  graph_.node("/o").inputs = {"attended", "o.q", "o.scales", "", "one"};
  refuse({"/o", "g_idx"});
  graph_ = DecoderGraph();
  graph_.tensor("o.scales") = tests::float_tensor("o.scales", {16}, std::vector<float>(16));
  refuse({"/o", "o.scales", "64 bytes, expected 128"}, ErrorKind::kInvalidInput);
}

TEST_F(OnnxFolder, RefusesAConfigThatIsNotTheGraphs) {
  refuse_config("/model/decoder/num_hidden_layers", 2, {"num_hidden_layers is 2", "the graph has 1"});
  refuse_config("/model/decoder/num_attention_heads", 4, {"num_attention_heads is 4"});
  refuse_config("/model/decoder/hidden_size", 64, {"hidden_size"});
  refuse_config("/model/decoder/hidden_size", "32", {"model.decoder.hidden_size is \"32\""});
  refuse_config("/model/vocab_size", 47, {"vocab_size is 47"});
  refuse_config("/model/context_length", 0, {"model.context_length is 0"});
  refuse_config("/model/type", 3, {"model.type is 3"});
  refuse_config("/model/decoder/filename", "../model.onnx", {"model.decoder.filename is \"../model.onnx\""});
  refuse_config("/model/decoder/filename", "other.onnx", {"other.onnx", "model.decoder.filename"},
                ErrorKind::kNotFound);
  refuse_config("/model/decoder/outputs/logits", "scores", {"has no output scores"});
  refuse_config("/model/tokenizer_dir", "/etc", {"model.tokenizer_dir"});
  refuse_config("/model/decoder/pipeline", json::array(), {"model.decoder.pipeline"}, ErrorKind::kUnsupported);
}

TEST_F(OnnxFolder, AnyChangedByteIsReadOrRefused) {
  open();
  const std::string whole = graph_.model();
  for (size_t i = 0; i < whole.size(); i += 61) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
    tests::write_text(folder_.path() / "model.onnx", changed);
    try {
      const Checkpoint checkpoint = open_checkpoint(folder_.path());
      for (const auto& [name, linear] : checkpoint.quantized) linear.read();
    } catch (const core::Error& error) {
      EXPECT_NE(std::string(error.what()).find(folder_.path().string()), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace salient::checkpoint
