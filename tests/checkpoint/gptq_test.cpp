#include "checkpoint/gptq.h"

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

json quantization(const json& changes = json::object()) {
  json config = {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 16}, {"desc_act", false}, {"sym", false}};
  config.update(changes);
  return config;
}

constexpr uint16_t kOne = 0x3c00;
constexpr uint16_t kHalf = 0x3800;

/// A linear of 8 outputs and 32 inputs in two groups of 16: code (out + in) % 16; scales 1 and 1/2; the zero point of
/// output o is o in the first group and 15 - o in the second.
std::vector<OutputTensor> make_linear(uint32_t first_zeros, uint32_t second_zeros) {
  std::vector<uint32_t> words(4 * 8, 0);
  for (uint32_t in = 0; in < 32; ++in) {
    for (uint32_t out = 0; out < 8; ++out) words[in / 8 * 8 + out] |= (out + in) % 16 << (4 * (in % 8));
  }
  std::vector<uint16_t> scales(16, kOne);
  for (int out = 0; out < 8; ++out) scales[8 + out] = kHalf;
  return {make_tensor("p.qweight", DType::kI32, {4, 8}, words),
          make_tensor("p.qzeros", DType::kI32, {2, 1}, std::vector<uint32_t>{first_zeros, second_zeros}),
          make_tensor("p.scales", DType::kF16, {2, 8}, scales)};
}

std::vector<OutputTensor> make_linear() {
  return make_linear(0x76543210, 0x89abcdef);
}

/// The group of each input: `group(in)`.
template <typename Group>
OutputTensor make_groups(Group group, int64_t inputs = 32) {
  std::vector<int32_t> groups(inputs);
  for (int64_t in = 0; in < inputs; ++in) groups[in] = group(in);
  return make_tensor("p.g_idx", DType::kI32, {inputs}, groups);
}

/// What make_linear means when input `in` is in group `group(in)`.
template <typename Group>
std::vector<float> expected(Group group) {
  std::vector<float> values;
  for (int out = 0; out < 8; ++out) {
    for (int in = 0; in < 32; ++in) {
      const int zero = group(in) == 0 ? out : 15 - out;
      values.push_back(static_cast<float>((out + in) % 16 - zero) * (group(in) == 0 ? 1.0f : 0.5f));
    }
  }
  return values;
}

int in_order(int64_t in) {
  return static_cast<int>(in / 16);
}

class GptqFolder : public QuantizedFolder {
 protected:
  void expect_refused(ErrorKind kind, const std::vector<std::string>& parts, const std::vector<OutputTensor>& tensors,
                      const json& changes = json::object()) {
    expect_error(kind, parts, [&] { open(quantization(changes), tensors).quantized.at("p").read(); });
  }
};

TEST_F(GptqFolder, HoldsPlainZeroPointsInItsSecondVersion) {
  const Checkpoint checkpoint = open(quantization({{"checkpoint_format", "gptq_v2"}}), make_linear());
  EXPECT_EQ(checkpoint.format, "gptq");
  const StoredQuantized& stored = checkpoint.quantized.at("p");
  EXPECT_EQ(stored.out_features, 8);
  EXPECT_EQ(stored.in_features, 32);
  EXPECT_EQ(stored.bits, 4);
  EXPECT_EQ(stored.group_size, 16);
  EXPECT_TRUE(stored.read().column_input.empty());
  EXPECT_EQ(values(checkpoint), expected(in_order));
}

TEST_F(GptqFolder, HoldsZeroPointsLessOneInItsFirstVersion) {
  const Checkpoint checkpoint = open(quantization(), make_linear(0x06543210, 0x8888888f));
  const std::vector<uint8_t> zeros = checkpoint.quantized.at("p").read().zeros;
  // Row by row, two groups each: one more than the nibble, even where that is 16.
  EXPECT_EQ(zeros, (std::vector<uint8_t>{1, 16, 2, 9, 3, 9, 4, 9, 5, 9, 6, 9, 7, 9, 1, 9}));
}

TEST_F(GptqFolder, HoldsWordsLessOnesWhereGptqmodelMadeIt) {
  for (const json& quantizer : {json("gptqmodel:7.7.0"), json({"other:1", "gptqmodel:0.9.0"})}) {
    // 0x76543210 - 0x11111111: the zero point 0 borrows from its neighbour.
    const Checkpoint checkpoint = open(quantization({{"meta", {{"quantizer", quantizer}}}}),
                                       make_linear(0x76543210u - 0x11111111u, 0x89abcdefu - 0x11111111u));
    EXPECT_EQ(values(checkpoint), expected(in_order));
  }
}

TEST_F(GptqFolder, KeepsActivationOrderAsTheInputsOfColumns) {
  const auto alternating = [](int64_t in) { return static_cast<int>(in % 2); };
  auto tensors = make_linear();
  tensors.push_back(make_groups(alternating));
  const Checkpoint checkpoint = open(quantization({{"desc_act", true}, {"format", "gptq_v2"}}), tensors);
  const core::QuantizedTensor weights = checkpoint.quantized.at("p").read();
  ASSERT_EQ(weights.column_input.size(), 32u);
  for (int column = 0; column < 16; ++column) {
    EXPECT_EQ(weights.column_input[column], 2 * column);
    EXPECT_EQ(weights.column_input[16 + column], 2 * column + 1);
  }
  EXPECT_EQ(values(checkpoint), expected(alternating));
}

TEST_F(GptqFolder, NeedsNoOrderWhereGroupsAreConsecutive) {
  auto tensors = make_linear();
  tensors.push_back(make_groups(in_order));
  {
    const Checkpoint checkpoint = open(quantization({{"format", "gptq_v2"}}), tensors);
    EXPECT_TRUE(checkpoint.quantized.at("p").read().column_input.empty());
    EXPECT_EQ(values(checkpoint), expected(in_order));
  }
  // Consecutive, but the second first.
  const auto swapped = [](int64_t in) { return 1 - in_order(in); };
  tensors.back() = make_groups(swapped);
  EXPECT_EQ(values(open(quantization({{"format", "gptq_v2"}}), tensors)), expected(swapped));
}

TEST_F(GptqFolder, HoldsEightBits) {
  std::vector<uint32_t> words(4 * 4);
  for (uint32_t i = 0; i < 16; ++i) words[i] = 0x04030201u + i * 0x10101010u;
  const std::vector<OutputTensor> tensors = {
      make_tensor("p.qweight", DType::kI32, {4, 4}, words),
      make_tensor("p.qzeros", DType::kI32, {1, 1}, std::vector<uint32_t>{0xfe7f0700}),
      make_tensor("p.scales", DType::kF16, {1, 4}, std::vector<uint16_t>(4, kOne))};
  const Checkpoint checkpoint = open(quantization({{"bits", 8}, {"group_size", -1}}), tensors);
  const core::QuantizedTensor weights = checkpoint.quantized.at("p").read();
  EXPECT_EQ(weights.bits, 8);
  EXPECT_EQ(weights.group_size, 16);
  EXPECT_EQ(weights.zeros, (std::vector<uint8_t>{1, 8, 128, 255}));
  EXPECT_EQ(weights.codes[0], 0x01);
  EXPECT_EQ(weights.codes[1], 0x02);
  EXPECT_EQ(weights.codes[4], 0x41);       // input 4 of output 0: the second row of words
  EXPECT_EQ(weights.codes[16 + 3], 0x14);  // input 3 of output 1
}

TEST_F(GptqFolder, DividesARowIntoGroupsThatTheRunnerTakes) {
  const std::vector<OutputTensor> tensors = {
      make_tensor("p.qweight", DType::kI32, {72, 8}, std::vector<uint32_t>(72 * 8, 0x12345678)),
      make_tensor("p.qzeros", DType::kI32, {1, 1}, std::vector<uint32_t>{0x76543210}),
      make_tensor("p.scales", DType::kF16, {1, 8},
                  std::vector<uint16_t>{kOne, kHalf, kOne, kOne, kOne, kOne, kOne, kOne})};
  const Checkpoint checkpoint = open(quantization({{"group_size", -1}, {"checkpoint_format", "gptq_v2"}}), tensors);
  EXPECT_EQ(checkpoint.quantized.at("p").group_size, 64);  // 576 is 9 * 64
  const core::QuantizedTensor weights = checkpoint.quantized.at("p").read();
  EXPECT_EQ(weights.group_size, 64);
  EXPECT_EQ(weights.scales.size(), 8u * 9);
  EXPECT_EQ(weights.zeros[9], 1);
  EXPECT_EQ(values(checkpoint)[576 + 8], (8 - 1) * 0.5f);  // row 1: code 8 of 0x...8, zero point 1, scale 1/2
}

TEST_F(GptqFolder, ReadsTheFileOfAutoGptq) {
  write(quantization(), make_linear(0, 0));
  tests::write_text(path() / "config.json", R"({"model_type": "llama"})");
  tests::write_text(path() / "quantize_config.json", R"({"bits": 4, "group_size": 16, "desc_act": false})");
  EXPECT_EQ(open_checkpoint(path()).quantized.at("p").read().zeros, std::vector<uint8_t>(16, 1));
}

TEST_F(GptqFolder, RefusesGroupsThatThereAreNot) {
  for (const int group : {-1, 2, 1 << 30}) {
    auto tensors = make_linear();
    tensors.push_back(make_groups([&](int64_t in) { return in == 5 ? group : in_order(in); }));
    expect_refused(ErrorKind::kInvalidInput, {"p.g_idx", "input 5", std::to_string(group), "there are 2"}, tensors);
  }
}

TEST_F(GptqFolder, RefusesGroupsOfDifferentSizes) {
  auto tensors = make_linear();
  tensors.push_back(make_groups([](int64_t in) { return in < 15 ? 0 : 1; }));
  expect_refused(ErrorKind::kInvalidInput, {"p.g_idx", "15 inputs", "group 0", "expected 16"}, tensors);
}

TEST_F(GptqFolder, RefusesDamagedScales) {
  for (const uint16_t bits : {0x7e00, 0x7c00, 0xfc00}) {
    auto tensors = make_linear();
    std::memcpy(&tensors[2].bytes[2 * 9], &bits, sizeof bits);
    expect_refused(ErrorKind::kInvalidInput, {"p.scales", "element 9", "damaged"}, tensors);
  }
}

TEST_F(GptqFolder, RefusesAZeroPointBeyondAByte) {
  const std::vector<OutputTensor> tensors = {
      make_tensor("p.qweight", DType::kI32, {4, 4}, std::vector<uint32_t>(16)),
      make_tensor("p.qzeros", DType::kI32, {1, 1}, std::vector<uint32_t>{0xff000000}),
      make_tensor("p.scales", DType::kF16, {1, 4}, std::vector<uint16_t>(4, kOne))};
  expect_refused(ErrorKind::kUnsupported, {"p.qzeros", "zero point 256"}, tensors, {{"bits", 8}});
}

TEST_F(GptqFolder, NamesTensorsThatAreMissingOrDoNotFit) {
  for (const int missing : {1, 2}) {
    auto tensors = make_linear();
    const std::string name = tensors[missing].name;
    tensors.erase(tensors.begin() + missing);
    expect_refused(ErrorKind::kNotFound, {name}, tensors);
  }
  expect_refused(ErrorKind::kNotFound, {"p.g_idx"}, make_linear(), {{"desc_act", true}});
  auto tensors = make_linear();
  tensors[0].dtype = DType::kF32;
  expect_refused(ErrorKind::kInvalidInput, {"p.qweight", "F32", "[in_features / 8, out_features]"}, tensors);
  tensors = make_linear();
  tensors[1].shape = {1, 2};
  expect_refused(ErrorKind::kInvalidInput, {"p.qzeros", "[1, 2]", "[2, 1]"}, tensors);
  tensors = make_linear();
  tensors[2].shape = {8, 2};
  expect_refused(ErrorKind::kInvalidInput, {"p.scales", "[8, 2]", "[2, 8]"}, tensors);
  tensors = make_linear();
  tensors.push_back(make_groups(in_order, 31));
  expect_refused(ErrorKind::kInvalidInput, {"p.g_idx", "[31]", "[32]"}, tensors);
  expect_refused(ErrorKind::kInvalidInput, {"p.qweight", "32 inputs", "group_size 64"}, make_linear(),
                 {{"group_size", 64}});
  tensors = make_linear();
  tensors[0] = make_tensor("p.qweight", DType::kI32, {int64_t{1} << 60, 0}, std::vector<uint32_t>{});
  expect_refused(ErrorKind::kInvalidInput, {"p.qweight"}, tensors);
}

TEST_F(GptqFolder, RefusesSettingsByName) {
  for (const auto& [field, value] : std::vector<std::pair<std::string, json>>{{"bits", 3},
                                                                              {"bits", "4"},
                                                                              {"group_size", 0},
                                                                              {"group_size", 48},
                                                                              {"desc_act", "yes"},
                                                                              {"checkpoint_format", "marlin"},
                                                                              {"format", "gptq_p"},
                                                                              {"is_marlin_format", true},
                                                                              {"pack_dtype", "int16"},
                                                                              {"rotation", "hadamard"},
                                                                              {"method", "qqq"}}) {
    expect_refused(ErrorKind::kUnsupported, {"config.json: quantization_config.", field, value.dump()}, make_linear(),
                   {{field, value}});
  }
  expect_refused(ErrorKind::kUnsupported, {"quantization_config.dynamic", "+:.*up"}, make_linear(),
                 {{"dynamic", {{"-:.*down", json::object()}, {"+:.*up", {{"bits", 8}}}}}});
  EXPECT_NO_THROW(open(quantization({{"dynamic", {{"-:.*down", json::object()}}}}), make_linear()));
  json no_bits = quantization();
  no_bits.erase("bits");
  expect_error(ErrorKind::kUnsupported, {"quantization_config.bits"}, [&] { open(no_bits, make_linear()); });
}

}  // namespace
}  // namespace salient::checkpoint
