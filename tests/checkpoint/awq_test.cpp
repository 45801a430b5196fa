#include "checkpoint/awq.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "checkpoint/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/quantized_checkpoint.h"

namespace salient::checkpoint {
namespace {

using core::DType;
using core::ErrorKind;
using core::QuantizedTensor;
using nlohmann::json;
using tests::expect_error;

QuantizedTensor random_tensor(int64_t out_features, int64_t in_features, int group_size) {
  std::mt19937 engine(9);
  QuantizedTensor tensor;
  tensor.out_features = out_features;
  tensor.in_features = in_features;
  tensor.group_size = group_size;
  tensor.codes.resize(out_features * in_features);
  tensor.zeros.resize(out_features * tensor.groups());
  tensor.scales.resize(tensor.zeros.size());
  for (uint8_t& code : tensor.codes) code = engine() % 16;
  for (uint8_t& zero : tensor.zeros) zero = engine() % 16;
  for (float& scale : tensor.scales) scale = core::half_to_float(static_cast<uint16_t>(engine() % 0x7c00));
  return tensor;
}

/// A checkpoint in memory whose tensors are these.
class AwqCheckpoint : public testing::Test {
 protected:
  const Checkpoint& open(std::vector<OutputTensor> tensors) {
    checkpoint_ = Checkpoint();  // Windows replaces no file that is mapped
    write_safetensors(folder_.path() / "part", tensors);
    checkpoint_.path = "the model";
    add_safetensors_file(folder_.path() / "part", checkpoint_.tensors);
    return checkpoint_;
  }
  void expect_refused(std::vector<OutputTensor> tensors, std::vector<std::string> parts,
                      ErrorKind kind = ErrorKind::kInvalidInput) {
    const Checkpoint& checkpoint = open(std::move(tensors));
    parts.emplace_back("the model");
    expect_error(kind, parts, [&] { read_awq_linear(checkpoint, "p", {4, 32}); });
  }

 private:
  tests::TemporaryFolder folder_;
  Checkpoint checkpoint_;
};

TEST(PackAwq, PutsEightOutputsInAWordInTheOrderOfAutoAwq) {
  QuantizedTensor tensor = random_tensor(8, 16, 16);
  for (int out = 0; out < 8; ++out) {
    for (int in = 0; in < 16; ++in) tensor.codes[out * 16 + in] = static_cast<uint8_t>(in == 3 ? 7 - out : out);
    tensor.zeros[out] = static_cast<uint8_t>(out);
    tensor.scales[out] = static_cast<float>(out + 1);
  }
  const std::vector<OutputTensor> packed = pack_awq_linear(tensor, "p");
  ASSERT_EQ(packed.size(), 3u);
  EXPECT_EQ(packed[0].name, "p.qweight");
  EXPECT_EQ(packed[0].dtype, DType::kI32);
  EXPECT_EQ(packed[0].shape, (std::vector<int64_t>{16, 1}));
  std::vector<uint32_t> words(16, 0x75316420);
  words[3] = 0x02461357;  // 7 - q
  EXPECT_EQ(numbers_of<uint32_t>(packed[0]), words);
  EXPECT_EQ(packed[1].name, "p.qzeros");
  EXPECT_EQ(packed[1].dtype, DType::kI32);
  EXPECT_EQ(packed[1].shape, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(numbers_of<uint32_t>(packed[1]), (std::vector<uint32_t>{0x75316420}));
  EXPECT_EQ(packed[2].name, "p.scales");
  EXPECT_EQ(packed[2].dtype, DType::kF16);
  EXPECT_EQ(packed[2].shape, (std::vector<int64_t>{1, 8}));
  EXPECT_EQ(numbers_of<uint16_t>(packed[2]),
            (std::vector<uint16_t>{0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800}));
}

TEST(PackAwq, PutsGroupsInRowsAndOutputsInColumns) {
  QuantizedTensor tensor = random_tensor(16, 32, 16);
  const std::vector<OutputTensor> packed = pack_awq_linear(tensor, "p");
  EXPECT_EQ(packed[0].shape, (std::vector<int64_t>{32, 2}));
  EXPECT_EQ(packed[1].shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(packed[2].shape, (std::vector<int64_t>{2, 16}));
  const auto codes = numbers_of<uint32_t>(packed[0]);
  const auto scales = numbers_of<uint16_t>(packed[2]);
  // The lowest nibble of word [i, c] is output 8 c of input i; the highest is output 8 c + 7.
  EXPECT_EQ(codes[5 * 2 + 1] & 15, tensor.codes[8 * 32 + 5]);
  EXPECT_EQ(codes[5 * 2 + 1] >> 28, tensor.codes[15 * 32 + 5]);
  EXPECT_EQ(core::half_to_float(scales[1 * 16 + 9]), tensor.scales[9 * 2 + 1]);
}

TEST(PackAwq, RefusesWhatTheLayoutCannotHold) {
  QuantizedTensor tensor = random_tensor(16, 32, 32);
  tensor.bits = 8;
  expect_error(ErrorKind::kUnsupported, {"tensor p", "8 bits"}, [&] { pack_awq_linear(tensor, "p"); });
  expect_error(ErrorKind::kUnsupported, {"tensor p", "12 outputs"},
               [&] { pack_awq_linear(random_tensor(12, 32, 32), "p"); });
  for (const float scale : {0.1f, 1e-9f, 70000.0f, std::nanf("")}) {
    tensor = random_tensor(16, 32, 32);
    tensor.scales[9] = scale;
    expect_error(ErrorKind::kUnsupported, {"tensor p", "row 9, group 0", "fp16"},
                 [&] { pack_awq_linear(tensor, "p"); });
  }
}

TEST_F(AwqCheckpoint, GivesBackWhatWasPacked) {
  const QuantizedTensor tensor = random_tensor(24, 96, 32);
  const QuantizedTensor read = read_awq_linear(open(pack_awq_linear(tensor, "p")), "p", {4, 32});
  EXPECT_EQ(read.out_features, 24);
  EXPECT_EQ(read.in_features, 96);
  EXPECT_EQ(read.bits, 4);
  EXPECT_EQ(read.group_size, 32);
  EXPECT_EQ(read.codes, tensor.codes);
  EXPECT_EQ(read.zeros, tensor.zeros);
  EXPECT_EQ(read.scales, tensor.scales);
}

TEST_F(AwqCheckpoint, NamesATensorThatIsMissing) {
  for (const int missing : {0, 1, 2}) {
    std::vector<OutputTensor> tensors = pack_awq_linear(random_tensor(8, 64, 32), "p");
    const std::string name = tensors[missing].name;
    tensors.erase(tensors.begin() + missing);
    expect_refused(std::move(tensors), {name}, ErrorKind::kNotFound);
  }
}

TEST_F(AwqCheckpoint, NamesATensorOfAnotherDtypeOrShape) {
  const std::vector<DType> other_dtypes = {DType::kF32, DType::kF32, DType::kI16};
  for (const int wrong : {0, 1, 2}) {
    std::vector<OutputTensor> tensors = pack_awq_linear(random_tensor(8, 64, 32), "p");
    tensors[wrong].dtype = other_dtypes[wrong];
    expect_refused(tensors, {tensors[wrong].name, std::string(core::info_of(other_dtypes[wrong]).name)});

    tensors = pack_awq_linear(random_tensor(8, 64, 32), "p");
    tensors[wrong].shape.push_back(1);
    expect_refused(tensors, {tensors[wrong].name, ", 1]"});
  }
  std::vector<OutputTensor> tensors = pack_awq_linear(random_tensor(8, 64, 32), "p");
  tensors[2].shape = {8, 2};
  expect_refused(tensors, {"p.scales is F16 [8, 2]", "expected F16 [2, 8]"});
}

TEST_F(AwqCheckpoint, RefusesInputsThatGroupsDoNotDivide) {
  expect_refused(pack_awq_linear(random_tensor(8, 48, 16), "p"), {"p.qweight", "48 inputs", "group_size 32"});
}

TEST_F(AwqCheckpoint, RefusesATensorWithoutElementsWhateverItsOtherDimension) {
  for (const int64_t columns : {int64_t{0}, int64_t{1}, int64_t{1} << 61}) {
    expect_refused({{"p.qweight", DType::kI32, {0, columns}, {}},
                    {"p.qzeros", DType::kI32, {0, columns}, {}},
                    {"p.scales", DType::kF16, {0, 8}, {}}},
                   {"p.qweight"});
  }
}

TEST(PackAwq, RefusesAZeroPointThatFourBitsDoNotHold) {
  QuantizedTensor tensor = random_tensor(16, 32, 32);
  tensor.zeros[9] = 16;
  expect_error(ErrorKind::kUnsupported, {"tensor p", "zero point 16", "row 9, group 0", "AutoAWQ"},
               [&] { pack_awq_linear(tensor, "p"); });
}

TEST_F(AwqCheckpoint, WithoutZeroPointsHoldsEights) {
  QuantizedTensor tensor = random_tensor(8, 64, 32);
  tensor.zeros.assign(tensor.zeros.size(), 8);
  const AwqSettings symmetric{4, 32, true};
  EXPECT_EQ(read_awq_linear(open(pack_awq_linear(tensor, "p")), "p", symmetric).zeros, tensor.zeros);
  tensor.zeros[3] = 7;
  const Checkpoint& checkpoint = open(pack_awq_linear(tensor, "p"));
  expect_error(ErrorKind::kUnsupported, {"the model", "p.qzeros", "zero_point is false"},
               [&] { read_awq_linear(checkpoint, "p", symmetric); });
}

json quantization(const json& changes) {
  json config = {{"quant_method", "awq"}, {"zero_point", true}, {"group_size", 128}, {"bits", 4}, {"version", "gemm"}};
  config.update(changes);
  return {{"quantization_config", config}};
}

TEST(AwqSettings, AreReadFromTheConfig) {
  EXPECT_EQ(read_awq_settings(quantization(json::object()), "a").group_size, 128);
  EXPECT_EQ(read_awq_settings(quantization(json::object()), "a").bits, 4);
  EXPECT_EQ(read_awq_settings(quantization({{"version", "GEMM"}}), "a").group_size, 128);
  for (const int group_size : {16, 32, 64, 256}) {
    EXPECT_EQ(read_awq_settings(quantization({{"group_size", group_size}}), "a").group_size, group_size);
  }
  EXPECT_FALSE(read_awq_settings(quantization(json::object()), "a").symmetric);
  EXPECT_TRUE(read_awq_settings(quantization({{"zero_point", false}}), "a").symmetric);
  EXPECT_EQ(read_awq_settings({{"quantization_config", {{"quant_method", "awq"}}}}, "a").group_size, 128);
}

TEST(AwqSettings, ThatAreNotSupportedAreNamed) {
  const std::vector<std::pair<std::string, json>> refused = {{"version", "gemv"},
                                                             {"version", "gemv_fast"},
                                                             {"version", 4},
                                                             {"version", json()},
                                                             {"bits", 8},
                                                             {"bits", 3},
                                                             {"bits", "four"},
                                                             {"zero_point", "true"},
                                                             {"group_size", -1},
                                                             {"group_size", 0},
                                                             {"group_size", 100},
                                                             {"group_size", "128"},
                                                             {"group_size", json()},
                                                             {"group_size", 128.5},
                                                             {"group_size", 4294967424}};
  for (const auto& [field, value] : refused) {
    expect_error(ErrorKind::kUnsupported, {"config.json: quantization_config." + field + " is " + value.dump()}, [&] {
      read_awq_settings(quantization({{field, value}}), "config.json");
    });
  }
}

}  // namespace
}  // namespace salient::checkpoint
