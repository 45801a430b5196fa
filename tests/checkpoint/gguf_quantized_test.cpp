#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <random>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_blocks.h"
#include "tests/checkpoint/gguf_builder.h"

namespace salient::checkpoint {
namespace {

using core::DType;

struct Format {
  DType dtype;
  uint32_t ggml;
  int bits;
  int group_size;
};

constexpr std::array<Format, 8> kFormats = {{{DType::kQ4_0, kGgmlQ4_0, 4, 32},
                                             {DType::kQ4_1, 3, 4, 32},
                                             {DType::kQ5_0, 6, 8, 32},
                                             {DType::kQ5_1, 7, 8, 32},
                                             {DType::kQ8_0, kGgmlQ8_0, 8, 32},
                                             {DType::kQ4_K, 12, 4, 32},
                                             {DType::kQ5_K, 13, 8, 32},
                                             {DType::kQ6_K, kGgmlQ6_K, 8, 16}}};

constexpr int64_t kRows = 8;
constexpr int64_t kColumns = 512;

/// Random blocks whose scales are finite and of any sign.
std::string random_blocks(DType dtype) {
  const core::DTypeInfo& info = core::info_of(dtype);
  std::mt19937 engine(23);
  std::string bytes(kRows * kColumns / info.block_elements * info.block_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(engine());
  for (size_t block = 0; block < bytes.size(); block += info.block_bytes) {
    for (const size_t high : {block + 1, block + 3, block + info.block_bytes - 1}) bytes[high] &= '\xbf';
  }
  return bytes;
}

Checkpoint open(const std::string& tensor, const Format& format) {
  const tests::TemporaryFolder folder;
  GgufBuilder builder = llama_metadata();
  builder.tensor(tensor, {kColumns, kRows}, format.ggml, random_blocks(format.dtype));
  add_byte_level_vocabulary(builder);
  builder.write(folder.path() / "model.gguf");
  return open_gguf(folder.path() / "model.gguf");
}

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

TEST(GgufQuantized, HasTheBitsOfTheBlocks) {
  for (const Format& format : kFormats) {
    const Checkpoint checkpoint = open("output.weight", format);
    const StoredQuantized& stored = checkpoint.quantized.at("lm_head");
    EXPECT_EQ(stored.bits, format.bits);
    EXPECT_EQ(stored.group_size, format.group_size);
    EXPECT_EQ(stored.out_features, kRows);
    EXPECT_EQ(stored.in_features, kColumns);
    const core::LinearWeights weights = checkpoint.linear("lm_head", kRows, kColumns);
    ASSERT_NE(weights.quantized(), nullptr);
    std::vector<float> values(kRows * kColumns);
    for (int64_t row = 0; row < kRows; ++row) weights.read_rows(row, 1, &values[row * kColumns]);
    std::vector<float> expected(values.size());
    const std::string bytes = random_blocks(format.dtype);
    dequantize_blocks(format.dtype, reinterpret_cast<const std::byte*>(bytes.data()), kRows * kColumns,
                      expected.data());
    EXPECT_EQ(bits_of(values), bits_of(expected)) << core::info_of(format.dtype).name;
  }
}

TEST(GgufQuantized, CodesFitTheirBits) {
  for (const Format& format : kFormats) {
    const core::QuantizedTensor weights = open("output.weight", format).quantized.at("lm_head").read();
    const int most = *std::max_element(weights.codes.begin(), weights.codes.end());
    EXPECT_LT(most, 1 << format.bits);
    EXPECT_EQ(weights.zeros.empty(), !weights.offsets.empty());
    EXPECT_EQ(std::ssize(weights.scales), kRows * kColumns / format.group_size);
  }
}

TEST(GgufQuantized, RowsOfQueriesComeInTheOrderOfTransformers) {
  const int64_t order[kRows] = {0, 2, 1, 3, 4, 6, 5, 7};  // two heads of two halves of two
  for (const Format& format : kFormats) {
    const Checkpoint queries = open("blk.0.attn_q.weight", format);
    const Checkpoint values = open("blk.0.attn_v.weight", format);
    for (int64_t row = 0; row < kRows; ++row) {
      std::vector<float> query(kColumns);
      std::vector<float> value(kColumns);
      queries.linear("model.layers.0.self_attn.q_proj", kRows, kColumns).read_rows(row, 1, query.data());
      values.linear("model.layers.0.self_attn.v_proj", kRows, kColumns).read_rows(order[row], 1, value.data());
      EXPECT_EQ(bits_of(query), bits_of(value)) << core::info_of(format.dtype).name << ", row " << row;
    }
  }
}

TEST(GgufQuantized, LeavesPlainMatricesAndVectorsAlone) {
  const tests::TemporaryFolder folder;
  GgufBuilder builder = llama_metadata();
  builder.tensor("output.weight", {32, 1}, kGgmlF16, std::string(64, '\0'));
  builder.tensor("output_norm.weight", {32}, kGgmlQ8_0, std::string(34, '\0'));
  add_byte_level_vocabulary(builder);
  builder.write(folder.path() / "model.gguf");
  EXPECT_TRUE(open_gguf(folder.path() / "model.gguf").quantized.empty());
}

}  // namespace
}  // namespace salient::checkpoint
