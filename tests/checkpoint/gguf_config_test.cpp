#include <gtest/gtest.h>

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
  EXPECT_EQ(config_of(llama_metadata().add("llama.vocab_size", 1).add("llama.attention.key_length", 16))["head_dim"],
            16);
  expect_error(ErrorKind::kUnsupported, {"llama.rope.dimension_count is 2", "expected 4"}, [&] {
    config_of(llama_metadata().add("llama.attention.key_length", 4).add("llama.rope.dimension_count", 2));
  });
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
  for (const std::string key :
       {"llama.attention.clamp_kqv", "llama.attention.max_alibi_bias", "llama.logit_scale", "llama.embedding_scale",
        "llama.residual_scale", "llama.attention.scale", "llama.unheard_of", "llama.final_logit_softcapping"}) {
    expect_error(ErrorKind::kUnsupported, {key + " is 2"}, [&] { config_of(llama_metadata().add(key, 2.0f)); });
  }
  expect_error(ErrorKind::kUnsupported, {"llama.attention.causal is false"},
               [&] { config_of(llama_metadata().add("llama.attention.causal", false)); });
  expect_error(ErrorKind::kUnsupported, {"split.count is 3"},
               [&] { config_of(llama_metadata().add("split.count", uint16_t{3})); });
}

TEST_F(GgufConfig, LetsTheSpecSeeARopeScaling) {
  const json scaled = config_of(llama_metadata()
                                    .add("llama.vocab_size", 1)
                                    .add("llama.rope.scaling.type", "linear")
                                    .add("llama.rope.scaling.factor", 4.0f));
  EXPECT_EQ(scaled["rope_scaling"], (json{{"rope_type", "linear"}, {"factor", 4.0}}));
}

TEST_F(GgufConfig, ListsEveryTokenThatEndsAReply) {
  GgufBuilder builder = llama_metadata();
  builder.add("llama.vocab_size", 1).add("tokenizer.ggml.eos_token_id", 5).add("tokenizer.ggml.eot_token_id", 7);
  builder.add("tokenizer.ggml.eom_token_id", 5);
  builder.write(path());
  EXPECT_EQ(make_generation_config(parse_gguf(path()))["eos_token_id"], (json{5, 7}));
  EXPECT_EQ(config_of(builder)["eos_token_id"], (json{5, 7}));
}

TEST_F(GgufConfig, EndsAReplyWhereTheChatTemplateEndsATurn) {
  GgufBuilder builder = llama_metadata();
  builder.add("tokenizer.ggml.eos_token_id", 1).add("tokenizer.chat_template", "{{ m }}<|end|>");
  builder.add_array<std::string>("tokenizer.ggml.tokens", {"<s>", "</s>", "<|end|>", "<|im_end|>"});
  EXPECT_EQ(config_of(builder)["eos_token_id"], (json{1, 2}));
}

TEST_F(GgufConfig, HasARowOfTheTableForEachToken) {
  EXPECT_EQ(config_of(llama_metadata()
                          .add("llama.vocab_size", 1)
                          .tensor("token_embd.weight", {2, 3}, kGgmlF32, std::string(24, '\0')))["vocab_size"],
            3);
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
  builder.add("tokenizer.chat_template", "a\xff");
  const Checkpoint checkpoint = open(builder);
  EXPECT_EQ(json::parse(checkpoint.tokenizer_config.dump())["chat_template"], "a\ufffd");
}

}  // namespace
}  // namespace salient::checkpoint
