#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/awq.h"
#include "checkpoint/safetensors_writer.h"
#include "tests/checkpoint/gguf_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::DType;
using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;
namespace fs = std::filesystem;

template <typename Number>
OutputTensor make_tensor(const std::string& name, DType dtype, std::vector<int64_t> shape,
                         const std::vector<Number>& values) {
  OutputTensor tensor{name, dtype, std::move(shape), std::vector<std::byte>(values.size() * sizeof(Number))};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

class CheckpointTest : public testing::Test {
 protected:
  const fs::path& path() const { return folder_.path(); }
  Checkpoint open(const std::vector<OutputTensor>& tensors, const json& config = json::object()) const {
    tests::write_text(path() / "config.json", config.dump());
    write_safetensors(path() / "model.safetensors", tensors);
    return open_checkpoint(path());
  }

 private:
  tests::TemporaryFolder folder_;
};

/// 1.5, -2, 0.25, 3, 0 and -0.5, in each of the plain formats.
const std::vector<float> kFloats = {1.5f, -2.0f, 0.25f, 3.0f, 0.0f, -0.5f};
const std::vector<uint16_t> kHalves = {0x3e00, 0xc000, 0x3400, 0x4200, 0x0000, 0xb800};
const std::vector<uint16_t> kBfloats = {0x3fc0, 0xc000, 0x3e80, 0x4040, 0x0000, 0xbf00};

TEST_F(CheckpointTest, ReadsVectorsOfEveryPlainDtype) {
  const Checkpoint checkpoint =
      open({make_tensor("f32", DType::kF32, {6}, kFloats), make_tensor("f16", DType::kF16, {6}, kHalves),
            make_tensor("bf16", DType::kBF16, {6}, kBfloats)});
  for (const char* name : {"f32", "f16", "bf16"}) EXPECT_EQ(checkpoint.vector(name, 6), kFloats) << name;
}

TEST_F(CheckpointTest, ReadsMatricesRowByRow) {
  const Checkpoint checkpoint =
      open({make_tensor("f32", DType::kF32, {3, 2}, kFloats), make_tensor("f16", DType::kF16, {3, 2}, kHalves),
            make_tensor("bf16", DType::kBF16, {3, 2}, kBfloats)});
  const std::vector<std::pair<const char*, DType>> matrices = {
      {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}};
  for (const auto& [name, dtype] : matrices) {
    const core::DenseMatrix matrix = checkpoint.matrix(name, 3, 2);
    EXPECT_EQ(matrix.dtype, dtype);
    std::vector<float> values(6);
    matrix.read_rows(0, 3, values.data());
    EXPECT_EQ(values, kFloats) << name;
    matrix.read_rows(2, 1, values.data());
    EXPECT_EQ(values[0], 0.0f);
    EXPECT_EQ(values[1], -0.5f);
  }
}

TEST_F(CheckpointTest, ReadsBlockQuantizedMatricesAsFp32) {
  GgufBuilder builder = llama_metadata();
  add_byte_level_vocabulary(builder);
  // Two rows of one Q8_0 block: scale 0.5 and codes 1, scale 2 and codes -3.
  builder.tensor(
      "output.weight", {32, 2}, kGgmlQ8_0,
      std::string("\x00\x38", 2) + std::string(32, '\x01') + std::string("\x00\x40", 2) + std::string(32, '\xfd'));
  builder.write(path() / "model.gguf");
  const Checkpoint checkpoint = open_checkpoint(path() / "model.gguf");
  EXPECT_EQ(checkpoint.format, "gguf");
  const core::DenseMatrix matrix = checkpoint.matrix("lm_head.weight", 2, 32);
  EXPECT_EQ(matrix.dtype, DType::kF32);
  std::vector<float> values(64);
  matrix.read_rows(0, 2, values.data());
  EXPECT_EQ(values[31], 0.5f);
  EXPECT_EQ(values[32], -6.0f);
}

TEST_F(CheckpointTest, NamesATensorThatIsMissing) {
  const Checkpoint checkpoint = open({});
  EXPECT_FALSE(checkpoint.has("model.norm.weight"));
  expect_error(ErrorKind::kNotFound, {path().string() + ": has no tensor model.norm.weight"},
               [&] { checkpoint.tensor("model.norm.weight"); });
  expect_error(ErrorKind::kNotFound, {"no tensor p.weight"}, [&] { checkpoint.linear("p", 1, 1); });
}

TEST_F(CheckpointTest, NamesFoundAndExpectedShape) {
  const Checkpoint checkpoint = open({make_tensor("t", DType::kF32, {2, 3}, kFloats)});
  const std::string found = path().string() + ": tensor t has shape [2, 3]";
  expect_error(ErrorKind::kInvalidInput, {found, "asks for [6]"}, [&] { checkpoint.vector("t", 6); });
  expect_error(ErrorKind::kInvalidInput, {found, "asks for [3, 2]"}, [&] { checkpoint.matrix("t", 3, 2); });
}

TEST_F(CheckpointTest, RefusesWeightsOfOtherDtypes) {
  for (const DType dtype : {DType::kI32, DType::kU32}) {
    const Checkpoint checkpoint = open({make_tensor("t", dtype, {2, 3}, kFloats)});
    expect_error(ErrorKind::kUnsupported, {"tensor t", std::string(core::info_of(dtype).name)},
                 [&] { checkpoint.matrix("t", 2, 3); });
  }
}

TEST_F(CheckpointTest, ReadsALinearWithItsBias) {
  const Checkpoint checkpoint = open({make_tensor("p.weight", DType::kF16, {2, 3}, kHalves),
                                      make_tensor("p.bias", DType::kF32, {2}, std::vector<float>{1, 2}),
                                      make_tensor("plain.weight", DType::kF32, {2, 3}, kFloats),
                                      make_tensor("wrong.weight", DType::kF32, {2, 3}, kFloats),
                                      make_tensor("wrong.bias", DType::kF32, {1}, std::vector<float>{1})});
  const core::LinearWeights linear = checkpoint.linear("p", 2, 3);
  EXPECT_EQ(linear.quantized(), nullptr);
  EXPECT_EQ(linear.bias, (std::vector<float>{1, 2}));
  std::vector<float> values(6);
  linear.read_rows(0, 2, values.data());
  EXPECT_EQ(values, kFloats);
  EXPECT_TRUE(checkpoint.linear("plain", 2, 3).bias.empty());
  expect_error(ErrorKind::kInvalidInput, {"wrong.bias has shape [1]", "[2]"},
               [&] { checkpoint.linear("wrong", 2, 3); });
}

TEST_F(CheckpointTest, ReadsAnAwqLinear) {
  core::QuantizedTensor quantized;
  quantized.out_features = 8;
  quantized.in_features = 16;
  quantized.group_size = 16;
  quantized.codes.assign(128, 9);
  quantized.zeros.assign(8, 7);
  quantized.scales.assign(8, 0.25f);
  const json config = {{"quantization_config", {{"quant_method", "awq"}, {"group_size", 16}}}};
  const Checkpoint checkpoint = open(pack_awq_linear(quantized, "p"), config);
  EXPECT_EQ(checkpoint.format, "awq");
  const core::LinearWeights linear = checkpoint.linear("p", 8, 16);
  ASSERT_NE(linear.quantized(), nullptr);
  std::vector<float> values(128);
  linear.read_rows(0, 8, values.data());
  EXPECT_EQ(values, std::vector<float>(128, 0.5f));
  expect_error(ErrorKind::kInvalidInput, {"p is a quantized linear [8, 16]", "[16, 8]"},
               [&] { checkpoint.linear("p", 16, 8); });
}

TEST_F(CheckpointTest, NamesAPathThatLeadsNowhere) {
  expect_error(ErrorKind::kNotFound, {(path() / "missing").string(), "does not exist"},
               [&] { open_checkpoint(path() / "missing"); });
  tests::write_text(path() / "file", "some text");
  expect_error(ErrorKind::kInvalidInput, {(path() / "file").string(), "neither a model folder nor a GGUF file"},
               [&] { open_checkpoint(path() / "file"); });
  const fs::path long_name = path() / std::string(300, 'a');
  expect_error(ErrorKind::kNotFound, {long_name.string()}, [&] { open_checkpoint(long_name); });
}

}  // namespace
}  // namespace salient::checkpoint
