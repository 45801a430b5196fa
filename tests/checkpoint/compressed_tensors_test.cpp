#include "checkpoint/compressed_tensors.h"

#include <cmath>

#include "core/dtype.h"
#include "tests/support/expect_error.h"
#include "tests/support/quantized_checkpoint.h"

namespace salient::checkpoint {
namespace {

using core::DType;
using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;

json make_group(const json& changes = json::object()) {
  json weights = {{"num_bits", 4},    {"type", "int"},       {"symmetric", false},
                  {"group_size", 16}, {"strategy", "group"}, {"dynamic", false}};
  weights.update(changes);
  return {{"targets", {"Linear", "Other"}},
          {"weights", weights},
          {"input_activations", nullptr},
          {"output_activations", nullptr}};
}

json quantization(const json& changes = json::object()) {
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"config_groups", {{"group_0", make_group(changes)}}},
          {"ignore", {"lm_head"}}};
}

constexpr uint16_t kOne = 0x3c00;
constexpr uint16_t kHalf = 0x3800;

/// Two outputs, 32 inputs, two groups. Row 0 has the signed codes -8 ... 7 twice, row 1 has 7 everywhere; the scales
/// are 1, 1/2 and 1/2, 1; the signed zero points -8, 7 and 0, 1. Packed values are signed ones plus 8.
std::vector<OutputTensor> make_linear() {
  const std::vector<uint32_t> words = {0x76543210, 0xfedcba98, 0x76543210, 0xfedcba98,
                                       0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
  return {make_tensor("p.weight_packed", DType::kI32, {2, 4}, words),
          make_tensor("p.weight_scale", DType::kF16, {2, 2}, std::vector<uint16_t>{kOne, kHalf, kHalf, kOne}),
          make_tensor("p.weight_shape", DType::kI64, {2}, std::vector<int64_t>{2, 32}),
          make_tensor("p.weight_zero_point", DType::kI32, {1, 2}, std::vector<uint32_t>{0x80, 0x9f})};
}

std::vector<OutputTensor> make_symmetric() {
  auto tensors = make_linear();
  tensors.pop_back();
  return tensors;
}

std::vector<float> expected(bool symmetric) {
  std::vector<float> values;
  for (int in = 0; in < 32; ++in) {
    const int zero = symmetric ? 0 : in < 16 ? -8 : 7;
    values.push_back(static_cast<float>(in % 16 - 8 - zero) * (in < 16 ? 1.0f : 0.5f));
  }
  for (int in = 0; in < 32; ++in) {
    const int zero = symmetric || in < 16 ? 0 : 1;
    values.push_back(static_cast<float>(7 - zero) * (in < 16 ? 0.5f : 1.0f));
  }
  return values;
}

class CompressedTensorsFolder : public QuantizedFolder {
 protected:
  void expect_refused(ErrorKind kind, const std::vector<std::string>& parts, const std::vector<OutputTensor>& tensors,
                      const json& config = quantization()) {
    expect_error(kind, parts, [&] { open(config, tensors).quantized.at("p").read(); });
  }
};

TEST_F(CompressedTensorsFolder, HoldsSignedNumbersWithZeroPoints) {
  const Checkpoint checkpoint = open(quantization(), make_linear());
  EXPECT_EQ(checkpoint.format, "compressed-tensors");
  const core::QuantizedTensor weights = checkpoint.quantized.at("p").read();
  EXPECT_EQ(weights.out_features, 2);
  EXPECT_EQ(weights.in_features, 32);
  EXPECT_EQ(weights.bits, 4);
  EXPECT_EQ(weights.group_size, 16);
  EXPECT_EQ(weights.zeros, (std::vector<uint8_t>{0, 15, 8, 9}));
  EXPECT_EQ(values(checkpoint), expected(false));
}

TEST_F(CompressedTensorsFolder, HoldsZeroPointsAsBytesInOlderVersions) {
  auto tensors = make_linear();
  tensors[3] = make_tensor("p.weight_zero_point", DType::kI8, {2, 2}, std::vector<int8_t>{-8, 7, 0, 1});
  EXPECT_EQ(values(open(quantization(), tensors)), expected(false));
  tensors[3] = make_tensor("p.weight_zero_point", DType::kI8, {2, 2}, std::vector<int8_t>{-8, 7, 8, 1});
  expect_refused(ErrorKind::kInvalidInput, {"p.weight_zero_point", "8 in row 1, group 0", "4 bits"}, tensors);
}

TEST_F(CompressedTensorsFolder, HoldsSymmetricNumbers) {
  EXPECT_EQ(values(open(quantization({{"symmetric", true}}), make_symmetric())), expected(true));
}

TEST_F(CompressedTensorsFolder, HoldsScalesOfEveryFloat) {
  auto tensors = make_symmetric();
  tensors[1] =
      make_tensor("p.weight_scale", DType::kBF16, {2, 2}, std::vector<uint16_t>{0x3f80, 0x3f00, 0x3f00, 0x3f80});
  EXPECT_EQ(values(open(quantization({{"symmetric", true}}), tensors)), expected(true));
  tensors[1] = make_tensor("p.weight_scale", DType::kF32, {2, 2}, std::vector<float>{1, 0.5f, 0.5f, 1});
  EXPECT_EQ(values(open(quantization({{"symmetric", true}}), tensors)), expected(true));
}

TEST_F(CompressedTensorsFolder, HoldsEightBitsAndOneScaleARow) {
  std::vector<uint32_t> words(2 * 12, 0x80ff0001);
  const std::vector<OutputTensor> tensors = {
      make_tensor("p.weight_packed", DType::kI32, {2, 12}, words),
      make_tensor("p.weight_scale", DType::kF16, {2, 1}, std::vector<uint16_t>{kOne, kHalf}),
      make_tensor("p.weight_shape", DType::kI64, {2}, std::vector<int64_t>{2, 48})};
  json config = quantization({{"num_bits", 8}, {"symmetric", true}, {"strategy", "channel"}, {"group_size", nullptr}});
  config["config_groups"]["group_1"] = make_group();  // another linear's
  const Checkpoint checkpoint = open(config, tensors);
  EXPECT_EQ(checkpoint.quantized.at("p").bits, 8);
  EXPECT_EQ(checkpoint.quantized.at("p").group_size, 16);
  const std::vector<float> read = values(checkpoint);
  EXPECT_EQ(std::vector<float>(read.begin(), read.begin() + 4), (std::vector<float>{-127, -128, 127, 0}));
  EXPECT_EQ(std::vector<float>(read.begin() + 48, read.begin() + 52), (std::vector<float>{-63.5f, -64, 63.5f, 0}));
}

TEST_F(CompressedTensorsFolder, KeepsTheOrderOfInputs) {
  auto tensors = make_symmetric();
  std::vector<int32_t> groups(32);
  for (int in = 0; in < 32; ++in) groups[in] = in % 2;
  tensors.push_back(make_tensor("p.weight_g_idx", DType::kI32, {32}, groups));
  const json config = quantization({{"symmetric", true}, {"actorder", "group"}});
  const std::vector<float> read = values(open(config, tensors));
  for (int in = 0; in < 32; ++in) {
    EXPECT_EQ(read[in], static_cast<float>(in % 16 - 8) * (in % 2 == 0 ? 1.0f : 0.5f)) << in;
  }
  // All -1: inputs in their own order.
  tensors.back() = make_tensor("p.weight_g_idx", DType::kI32, {32}, std::vector<int32_t>(32, -1));
  EXPECT_EQ(values(open(quantization({{"symmetric", true}}), tensors)), expected(true));
  expect_refused(ErrorKind::kInvalidInput, {"p.weight_g_idx", "group -1"}, tensors, config);
  expect_refused(ErrorKind::kNotFound, {"p.weight_g_idx"}, make_symmetric(), config);
}

TEST_F(CompressedTensorsFolder, NamesTensorsThatDoNotFit) {
  auto tensors = make_linear();
  tensors[2] = make_tensor("p.weight_shape", DType::kI64, {2}, std::vector<int64_t>{2, 40});
  expect_refused(ErrorKind::kInvalidInput, {"p.weight_packed", "[2, 4]", "[2, 40]"}, tensors);
  for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{1} << 62}) {
    tensors[2] = make_tensor("p.weight_shape", DType::kI64, {2}, std::vector<int64_t>{size, 32});
    expect_refused(ErrorKind::kInvalidInput, {"p.weight_shape", std::to_string(size)}, tensors);
  }
  tensors = make_linear();
  tensors[3].shape = {2, 1};
  expect_refused(ErrorKind::kInvalidInput, {"p.weight_zero_point", "[2, 1]", "[1, 2]"}, tensors);
  tensors = make_linear();
  tensors[1].shape = {4};
  expect_refused(ErrorKind::kInvalidInput, {"tensor p", "weight_scale [4]", "config_groups"}, tensors);
  expect_refused(ErrorKind::kInvalidInput, {"tensor p", "without zero points", "config_groups"}, make_symmetric());
  expect_refused(ErrorKind::kInvalidInput, {"tensor p", "4 bits"}, make_linear(), quantization({{"num_bits", 8}}));
  tensors = make_linear();
  const uint16_t nan = 0x7e00;
  std::memcpy(&tensors[1].bytes[4], &nan, sizeof nan);
  expect_refused(ErrorKind::kInvalidInput, {"p.weight_scale", "element 2"}, tensors);
  for (const int missing : {1, 2}) {
    tensors = make_linear();
    const std::string name = tensors[missing].name;
    tensors.erase(tensors.begin() + missing);
    expect_refused(ErrorKind::kNotFound, {name}, tensors);
  }
}

TEST_F(CompressedTensorsFolder, RefusesSettingsByName) {
  for (const auto& [field, value] : std::vector<std::pair<std::string, json>>{{"num_bits", 3},
                                                                              {"num_bits", nullptr},
                                                                              {"type", "float"},
                                                                              {"strategy", "tensor"},
                                                                              {"group_size", 48},
                                                                              {"dynamic", true},
                                                                              {"symmetric", "yes"},
                                                                              {"block_structure", {128, 128}}}) {
    expect_refused(ErrorKind::kUnsupported, {"config.json: quantization_config.config_groups.group_0.weights." + field},
                   make_linear(), quantization({{field, value}}));
  }
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, json>>{{"format", "int-quantized"},
                                                 {"kv_cache_scheme", {{"num_bits", 8}}},
                                                 {"transform_config", {{"config_groups", {{"u", 1}}}}},
                                                 {"sparsity_config", {{"format", "sparse-24-bitmask"}}}}) {
    json config = quantization();
    config[field] = value;
    expect_refused(ErrorKind::kUnsupported, {"quantization_config.", field}, make_linear(), config);
  }
  json config = quantization();
  config["config_groups"]["group_0"]["input_activations"] = {{"num_bits", 8}};
  expect_refused(ErrorKind::kUnsupported, {"config_groups.group_0.input_activations"}, make_linear(), config);
  config["config_groups"] = {{"W4A16", {"Linear", "x"}}};
  expect_refused(ErrorKind::kUnsupported, {"config_groups.W4A16"}, make_linear(), config);
  config["config_groups"] = json::object();
  expect_refused(ErrorKind::kInvalidInput, {"config_groups"}, make_linear(), config);
}

TEST(PackCompressedTensors, PacksSignedNumbersAlongInputsAndZeroPointsAlongOutputs) {
  core::QuantizedTensor weights{.out_features = 9,
                                .in_features = 16,
                                .bits = 4,
                                .group_size = 16,
                                .codes = std::vector<uint8_t>(9 * 16, 3),
                                .scales = std::vector<float>(9, 0.5f),
                                .zeros = {0, 1, 2, 3, 4, 5, 6, 7, 15},
                                .offsets = {},
                                .column_input = {}};
  for (int in = 0; in < 16; ++in) weights.codes[in] = static_cast<uint8_t>(in);
  const std::vector<OutputTensor> packed = pack_compressed_tensors_linear(weights, "p", false);
  ASSERT_EQ(packed.size(), 4u);
  EXPECT_EQ(packed[0].name, "p.weight_packed");
  EXPECT_EQ(packed[0].dtype, DType::kI32);
  EXPECT_EQ(packed[0].shape, (std::vector<int64_t>{9, 2}));
  std::vector<uint32_t> words(18, 0x33333333);
  words[0] = 0x76543210;
  words[1] = 0xfedcba98;
  EXPECT_EQ(numbers_of<uint32_t>(packed[0]), words);
  EXPECT_EQ(packed[1].name, "p.weight_scale");
  EXPECT_EQ(packed[1].dtype, DType::kF16);
  EXPECT_EQ(packed[1].shape, (std::vector<int64_t>{9, 1}));
  EXPECT_EQ(numbers_of<uint16_t>(packed[1]), std::vector<uint16_t>(9, kHalf));
  EXPECT_EQ(packed[2].name, "p.weight_shape");
  EXPECT_EQ(packed[2].dtype, DType::kI64);
  EXPECT_EQ(numbers_of<int64_t>(packed[2]), (std::vector<int64_t>{9, 16}));
  EXPECT_EQ(packed[3].name, "p.weight_zero_point");
  EXPECT_EQ(packed[3].shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(numbers_of<uint32_t>(packed[3]), (std::vector<uint32_t>{0x76543210, 0xf}));

  weights.zeros.assign(9, 8);
  EXPECT_EQ(pack_compressed_tensors_linear(weights, "p", true).size(), 3u);
}

TEST(PackCompressedTensors, RefusesWhatTheLayoutCannotHold) {
  const core::QuantizedTensor good{.out_features = 2,
                                   .in_features = 16,
                                   .bits = 4,
                                   .group_size = 16,
                                   .codes = std::vector<uint8_t>(32, 3),
                                   .scales = {0.5f, 1},
                                   .zeros = {8, 8},
                                   .offsets = {},
                                   .column_input = {}};
  EXPECT_NO_THROW(pack_compressed_tensors_linear(good, "p", true));
  const auto expect_refused = [&](const std::vector<std::string>& parts, bool symmetric, auto change) {
    core::QuantizedTensor weights = good;
    change(weights);
    expect_error(ErrorKind::kUnsupported, parts, [&] { pack_compressed_tensors_linear(weights, "p", symmetric); });
  };
  expect_refused({"tensor p", "zero point 16", "row 1"}, false, [](auto& w) { w.zeros[1] = 16; });
  expect_refused({"tensor p", "not 8"}, true, [](auto& w) { w.zeros[1] = 7; });
  expect_refused({"tensor p", "0.1", "row 1, group 0", "fp16"}, false, [](auto& w) { w.scales[1] = 0.1f; });
  expect_refused({"tensor p", "fp16"}, false, [](auto& w) { w.scales[1] = INFINITY; });
  expect_refused({"tensor p", "inputs in another order"}, false, [](auto& w) { w.column_input.resize(16); });
  expect_refused({"tensor p", "offsets"}, false, [](auto& w) {
    w.zeros.clear();
    w.offsets = {0, 0};
  });
}

TEST(CompressedTensorsConfig, IsThatOfTheProject) {
  PackedSettings settings;
  settings.format = PackedFormat::kCompressedTensors;
  settings.bits = 8;
  settings.group_size = 32;
  settings.dense_linears = {"model.layers.0.mlp.up_proj"};
  EXPECT_EQ(compressed_tensors_quantization_config(settings), json::parse(R"({
    "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
    "global_compression_ratio": null, "kv_cache_scheme": null, "ignore": ["model.layers.0.mlp.up_proj", "lm_head"],
    "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": null, "output_activations": null,
      "format": "pack-quantized", "weights": {"num_bits": 8, "type": "int", "symmetric": false, "group_size": 32,
      "strategy": "group", "dynamic": false}}}})"));
}

}  // namespace
}  // namespace salient::checkpoint
