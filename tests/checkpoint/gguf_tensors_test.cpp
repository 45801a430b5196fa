#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "checkpoint/gguf.h"
#include "tests/checkpoint/gguf_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::ErrorKind;
using tests::expect_error;
namespace fs = std::filesystem;

class GgufTensors : public testing::Test {
 protected:
  fs::path path() const { return folder_.path() / "model.gguf"; }
  Checkpoint open(GgufBuilder builder) const {
    add_byte_level_vocabulary(builder);
    builder.write(path());
    return open_gguf(path());
  }

 private:
  tests::TemporaryFolder folder_;
};

std::string bytes_of(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

TEST_F(GgufTensors, TensorsHaveTheNamesOfTransformers) {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"token_embd.weight", "model.embed_tokens.weight"},
      {"output_norm.weight", "model.norm.weight"},
      {"output.weight", "lm_head.weight"},
      {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
      {"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"},
      {"blk.1.attn_v.bias", "model.layers.1.self_attn.v_proj.bias"},
      {"blk.10.attn_output.weight", "model.layers.10.self_attn.o_proj.weight"},
      {"blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"},
      {"blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight"},
      {"blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight"},
      {"blk.123.ffn_down.weight", "model.layers.123.mlp.down_proj.weight"},
      {"something.else", "something.else"},
      {"blk.0", "blk.0"},
      {"blk.0.unheard_of.weight", "blk.0.unheard_of.weight"}};
  GgufBuilder builder = llama_metadata();
  for (const auto& [ggml, transformers] : names) builder.tensor(ggml, {1}, kGgmlF32, "0123");
  const Checkpoint checkpoint = open(builder);
  EXPECT_EQ(checkpoint.format, "gguf");
  EXPECT_EQ(checkpoint.tensors.size(), names.size());
  for (const auto& [ggml, transformers] : names) EXPECT_TRUE(checkpoint.has(transformers)) << transformers;
}

/// One column whose row r is r, in the order in which llama.cpp stores `heads` heads of four rows: for each head
/// first the first row of both halves, then the second.
std::vector<float> stored_rows(int heads) {
  std::vector<float> rows;
  for (int head = 0; head < heads; ++head) {
    for (const int row : {0, 2, 1, 3}) rows.push_back(static_cast<float>(4 * head + row));
  }
  return rows;
}

TEST_F(GgufTensors, RowsOfQueriesAndKeysComeInTheOrderOfTransformers) {
  const std::vector<float> query = stored_rows(2);
  const std::vector<float> key = stored_rows(1);
  GgufBuilder builder = llama_metadata();
  builder.tensor("blk.0.attn_q.weight", {1, 8}, kGgmlF32, bytes_of(query));
  builder.tensor("blk.0.attn_q.bias", {8}, kGgmlF32, bytes_of(query));
  builder.tensor("blk.0.attn_k.weight", {1, 4}, kGgmlF32, bytes_of(key));
  builder.tensor("blk.0.attn_v.weight", {1, 4}, kGgmlF32, bytes_of(key));
  const Checkpoint checkpoint = open(builder);
  const std::vector<float> ordered = {0, 1, 2, 3, 4, 5, 6, 7};

  std::vector<float> rows(8);
  const core::LinearWeights linear = checkpoint.linear("model.layers.0.self_attn.q_proj", 8, 1);
  linear.read_rows(0, 8, rows.data());
  EXPECT_EQ(rows, ordered);
  EXPECT_EQ(linear.bias, ordered);
  linear.read_rows(5, 1, rows.data());
  EXPECT_EQ(rows[0], 5.0f);

  rows.resize(4);
  checkpoint.matrix("model.layers.0.self_attn.k_proj.weight", 4, 1).read_rows(0, 4, rows.data());
  EXPECT_EQ(rows, (std::vector<float>{0, 1, 2, 3}));
  checkpoint.matrix("model.layers.0.self_attn.v_proj.weight", 4, 1).read_rows(0, 4, rows.data());
  EXPECT_EQ(rows, key);  // values have no rotary embedding
}

TEST_F(GgufTensors, HeadsThatDoNotDivideTheRowsAreRefused) {
  for (const int64_t heads : {int64_t{3}, int64_t{8}, int64_t{-2}, int64_t{0x7fffffff}, int64_t{1} << 32,
                              std::numeric_limits<int64_t>::max()}) {
    GgufBuilder builder;
    builder.add("general.architecture", "llama").add("llama.embedding_length", uint32_t{8});
    builder.add("llama.feed_forward_length", uint32_t{16}).add("llama.block_count", uint32_t{1});
    builder.add("llama.attention.head_count", heads).add("llama.context_length", uint32_t{512});
    builder.add("llama.attention.layer_norm_rms_epsilon", 1e-6f);
    builder.tensor("blk.0.attn_q.weight", {1, 8}, kGgmlF32, std::string(32, '\0'));
    expect_error(ErrorKind::kInvalidInput, {path().string(), "blk.0.attn_q.weight", "8 rows", std::to_string(heads)},
                 [&] { open(builder); });
  }
}

TEST_F(GgufTensors, HaveTheNamesOfTheirFamily) {
  const std::vector<std::tuple<std::string, std::string, std::string>> names = {
      {"gemma2", "blk.0.ffn_norm.weight", "model.layers.0.pre_feedforward_layernorm.weight"},
      {"gemma2", "blk.0.post_attention_norm.weight", "model.layers.0.post_attention_layernorm.weight"},
      {"gemma2", "blk.0.post_ffw_norm.weight", "model.layers.0.post_feedforward_layernorm.weight"},
      {"phi2", "output_norm.bias", "model.final_layernorm.bias"},
      {"phi2", "output.bias", "lm_head.bias"},
      {"phi2", "blk.0.attn_output.weight", "model.layers.0.self_attn.dense.weight"},
      {"phi2", "blk.0.ffn_up.bias", "model.layers.0.mlp.fc1.bias"},
      {"phi2", "blk.0.ffn_down.weight", "model.layers.0.mlp.fc2.weight"},
      {"phi3", "blk.0.attn_qkv.weight", "model.layers.0.self_attn.qkv_proj.weight"},
      {"phi3", "blk.0.ffn_up.weight", "model.layers.0.mlp.gate_up_proj.weight"},
      {"qwen2", "blk.0.attn_q.bias", "model.layers.0.self_attn.q_proj.bias"},
      {"qwen3", "blk.0.attn_k_norm.weight", "model.layers.0.self_attn.k_norm.weight"},
      {"smollm3", "blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"}};
  for (const auto& [family, ggml, transformers] : names) {
    const Checkpoint checkpoint = open(metadata_of(family).tensor(ggml, {1, 8}, kGgmlF32, std::string(32, '\0')));
    EXPECT_TRUE(checkpoint.has(transformers)) << family << ' ' << ggml;
  }
}

TEST_F(GgufTensors, OfFamiliesThatTurnHalvesKeepTheirRows) {
  const std::vector<float> rows = {0, 1, 2, 3, 4, 5, 6, 7};
  for (const char* family : {"qwen2", "qwen3", "gemma2", "phi2"}) {
    const Checkpoint checkpoint = open(metadata_of(family).tensor("blk.0.attn_q.bias", {8}, kGgmlF32, bytes_of(rows)));
    EXPECT_EQ(checkpoint.vector("model.layers.0.self_attn.q_proj.bias", 8), rows) << family;
  }
  const Checkpoint smollm3 =
      open(metadata_of("smollm3").tensor("blk.0.attn_q.bias", {8}, kGgmlF32, bytes_of(stored_rows(2))));
  EXPECT_EQ(smollm3.vector("model.layers.0.self_attn.q_proj.bias", 8), rows);
}

TEST_F(GgufTensors, NormsOfGemmaAreThoseOfTransformers) {
  GgufBuilder builder = metadata_of("gemma2");
  builder.tensor("output_norm.weight", {3}, kGgmlF32, bytes_of({1.5f, 0.25f, 1.0f}));
  EXPECT_EQ(open(builder).vector("model.norm.weight", 3), (std::vector<float>{0.5f, -0.75f, 0.0f}));
  builder = metadata_of("qwen2");
  builder.tensor("output_norm.weight", {3}, kGgmlF32, bytes_of({1.5f, 0.25f, 1.0f}));
  EXPECT_EQ(open(builder).vector("model.norm.weight", 3), (std::vector<float>{1.5f, 0.25f, 1.0f}));
}

TEST_F(GgufTensors, OfQueryKeyAndValueInOneComeApart) {
  std::vector<float> rows(16);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i);
  {
    const Checkpoint checkpoint =
        open(metadata_of("phi2").tensor("blk.0.attn_qkv.weight", {1, 16}, kGgmlF32, bytes_of(rows)));
    const auto row_0 = [&](const std::string& name, int64_t count) {
      float value = 0;
      checkpoint.matrix("model.layers.0.self_attn." + name + ".weight", count, 1).read_rows(0, 1, &value);
      return value;
    };
    EXPECT_EQ(row_0("q_proj", 8), 0);
    EXPECT_EQ(row_0("k_proj", 4), 8);
    EXPECT_EQ(row_0("v_proj", 4), 12);
  }
  expect_error(ErrorKind::kInvalidInput, {"blk.0.attn_qkv.weight has 15 rows", "8 for queries"}, [&] {
    open(metadata_of("phi2").tensor("blk.0.attn_qkv.weight", {1, 15}, kGgmlF32, std::string(60, '\0')));
  });
}

}  // namespace
}  // namespace salient::checkpoint
