#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "checkpoint/gguf.h"
#include "tests/checkpoint/gguf_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;
namespace fs = std::filesystem;

class GgufConfig : public testing::Test {
 protected:
  fs::path path() const { return folder_.path() / "model.gguf"; }
  json config_of(const GgufBuilder& builder) const {
    builder.write(path());
    return make_config(parse_gguf(path()));
  }
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

TEST_F(GgufConfig, IsWhatTransformersWouldHave) {
  GgufBuilder builder = llama_metadata();
  add_byte_level_vocabulary(builder);
  builder.add("llama.rope.freq_base", 500000.0f).add("tokenizer.ggml.bos_token_id", uint32_t{0});
  builder.add("tokenizer.ggml.eos_token_id", uint32_t{1}).add("tokenizer.ggml.padding_token_id", uint32_t{1});
  const json config = config_of(builder);
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_EQ(config["architectures"], json{"LlamaForCausalLM"});
  EXPECT_EQ(config["hidden_act"], "silu");
  EXPECT_EQ(config["hidden_size"], 8);
  EXPECT_EQ(config["intermediate_size"], 16);
  EXPECT_EQ(config["num_hidden_layers"], 1);
  EXPECT_EQ(config["num_attention_heads"], 2);
  EXPECT_EQ(config["num_key_value_heads"], 1);
  EXPECT_EQ(config["head_dim"], 4);
  EXPECT_EQ(config["max_position_embeddings"], 512);
  EXPECT_EQ(config["rms_norm_eps"].dump(), "1e-05");
  EXPECT_EQ(config["rope_theta"].dump(), "500000");
  EXPECT_EQ(config["rope_scaling"], json());
  EXPECT_EQ(config["vocab_size"], 9);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["bos_token_id"], 0);
  EXPECT_EQ(config["eos_token_id"], 1);
  EXPECT_EQ(config["pad_token_id"], 1);
}

TEST_F(GgufConfig, HasTheDefaultsOfGgml) {
  GgufBuilder builder;
  builder.add("general.architecture", "llama").add("llama.embedding_length", uint32_t{8});
  builder.add("llama.feed_forward_length", uint32_t{16}).add("llama.block_count", uint32_t{1});
  builder.add("llama.attention.head_count", uint32_t{2}).add("llama.context_length", uint32_t{512});
  builder.add("llama.attention.layer_norm_rms_epsilon", 1e-6f).add("llama.vocab_size", uint32_t{77});
  const json config = config_of(builder);
  EXPECT_EQ(config["num_key_value_heads"], 2);
  EXPECT_EQ(config["head_dim"], 4);
  EXPECT_EQ(config["rope_theta"], 10000);
  EXPECT_EQ(config["vocab_size"], 77);
}

TEST_F(GgufConfig, TakesTheHeadDimensionThatTheFileGives) {
  EXPECT_EQ(config_of(llama_metadata()
                          .add("llama.vocab_size", 1)
                          .add("llama.rope.dimension_count", 16)
                          .add("llama.attention.key_length", 16))["head_dim"],
            16);
  expect_error(ErrorKind::kUnsupported, {"llama.attention.key_length is 16"},
               [&] { config_of(llama_metadata().add("llama.vocab_size", 1).add("llama.attention.key_length", 16)); });
  expect_error(ErrorKind::kUnsupported, {"value_length"},
               [&] { config_of(llama_metadata().add("llama.vocab_size", 1).add("llama.attention.value_length", 16)); });
}

TEST_F(GgufConfig, IsUntiedWhereTheFileHasAnOutputMatrix) {
  EXPECT_EQ(config_of(llama_metadata()
                          .add("llama.vocab_size", 1)
                          .tensor("output.weight", {8, 1}, kGgmlF32, std::string(32, '\0')))["tie_word_embeddings"],
            false);
}

TEST_F(GgufConfig, NamesWhatIsMissing) {
  expect_error(ErrorKind::kInvalidInput, {path().string(), "general.architecture is missing"},
               [&] { config_of(GgufBuilder()); });
  expect_error(ErrorKind::kInvalidInput, {"llama.embedding_length is missing"},
               [&] { config_of(GgufBuilder().add("general.architecture", "llama")); });
  expect_error(ErrorKind::kInvalidInput, {"llama.vocab_size is missing"}, [&] { config_of(llama_metadata()); });
}

TEST_F(GgufConfig, RefusesWhatChangesTheMathematics) {
  expect_error(ErrorKind::kUnsupported, {path().string(), "general.architecture is \"gemma\""},
               [&] { config_of(GgufBuilder().add("general.architecture", "gemma")); });
  expect_error(ErrorKind::kUnsupported, {"llama.expert_count is 8"},
               [&] { config_of(llama_metadata().add("llama.expert_count", uint32_t{8})); });
  for (const std::string key : {"llama.attention.clamp_kqv", "llama.attention.max_alibi_bias", "llama.logit_scale",
                                "llama.embedding_scale", "llama.residual_scale", "llama.attention.scale"}) {
    expect_error(ErrorKind::kUnsupported, {key}, [&] { config_of(llama_metadata().add(key, 2.0f)); });
  }
}

TEST_F(GgufConfig, LetsTheSpecSeeARopeScaling) {
  const json scaled = config_of(llama_metadata()
                                    .add("llama.vocab_size", 1)
                                    .add("llama.rope.scaling.type", "linear")
                                    .add("llama.rope.scaling.factor", 4.0f));
  EXPECT_EQ(scaled["rope_scaling"], (json{{"rope_type", "linear"}, {"factor", 4.0}}));
  const json tabled =
      config_of(llama_metadata().add("llama.vocab_size", 1).tensor("rope_freqs.weight", {1}, kGgmlF32, "0123"));
  EXPECT_TRUE(tabled["rope_scaling"].is_object());
}

TEST_F(GgufConfig, ListsEveryTokenThatEndsAReply) {
  GgufBuilder builder = llama_metadata();
  builder.add("llama.vocab_size", 1).add("tokenizer.ggml.eos_token_id", 5).add("tokenizer.ggml.eot_token_id", 7);
  builder.add("tokenizer.ggml.eom_token_id", 5);
  builder.write(path());
  EXPECT_EQ(make_generation_config(parse_gguf(path()))["eos_token_id"], (json{5, 7}));
  EXPECT_EQ(config_of(builder)["eos_token_id"], (json{5, 7}));
}

TEST_F(GgufConfig, RefusesNumbersThatJsonCannotHold) {
  for (const double value :
       {1e300, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    expect_error(ErrorKind::kInvalidInput, {path().string(), "llama.rope.freq_base"},
                 [&] { config_of(llama_metadata().add("llama.vocab_size", 1).add("llama.rope.freq_base", value)); });
  }
  EXPECT_EQ(config_of(llama_metadata().add("llama.vocab_size", 1).add("llama.rope.freq_base", 1e30))["rope_theta"],
            1e30);
}

TEST_F(GgufConfig, TextThatIsNotUtf8StaysWritable) {
  GgufBuilder builder = llama_metadata();
  builder.add("llama.rope.scaling.type", "\xff").add("tokenizer.chat_template", "a\xff");
  const Checkpoint checkpoint = open(builder);
  EXPECT_EQ(json::parse(checkpoint.config.dump())["rope_scaling"]["rope_type"], "\ufffd");
  EXPECT_EQ(json::parse(checkpoint.tokenizer_config.dump())["chat_template"], "a\ufffd");
}

TEST_F(GgufConfig, TensorsHaveTheNamesOfTransformers) {
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

TEST_F(GgufConfig, RowsOfQueriesAndKeysComeInTheOrderOfTransformers) {
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

TEST_F(GgufConfig, HeadsThatDoNotDivideTheRowsAreRefused) {
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

}  // namespace
}  // namespace salient::checkpoint
