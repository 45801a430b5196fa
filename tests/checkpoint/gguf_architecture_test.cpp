#include "checkpoint/gguf_architecture.h"

#include <gtest/gtest.h>

#include <array>

#include "checkpoint/gguf.h"
#include "tests/checkpoint/gguf_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;

class GgufArchitecture : public testing::Test {
 protected:
  json config_of(GgufBuilder builder) const {
    add_byte_level_vocabulary(builder);
    builder.write(folder_.path() / "model.gguf");
    return make_config(parse_gguf(folder_.path() / "model.gguf"));
  }

 private:
  tests::TemporaryFolder folder_;
};

TEST_F(GgufArchitecture, IsTheOneOfTransformers) {
  const std::vector<std::array<const char*, 3>> families = {
      {"gemma2", "gemma2", "Gemma2ForCausalLM"},   {"llama", "llama", "LlamaForCausalLM"},
      {"phi2", "phi", "PhiForCausalLM"},           {"phi3", "phi3", "Phi3ForCausalLM"},
      {"qwen2", "qwen2", "Qwen2ForCausalLM"},      {"qwen3", "qwen3", "Qwen3ForCausalLM"},
      {"smollm3", "smollm3", "SmolLM3ForCausalLM"}};
  for (const auto& [name, model_type, class_name] : families) {
    const json config = config_of(metadata_of(name));
    EXPECT_EQ(config["model_type"], model_type);
    EXPECT_EQ(config["architectures"], json{class_name});
  }
}

TEST_F(GgufArchitecture, OfLlamaWithAWindowIsMistral) {
  const json config = config_of(metadata_of("llama").add("llama.attention.sliding_window", uint32_t{4096}));
  EXPECT_EQ(config["model_type"], "mistral");
  EXPECT_EQ(config["sliding_window"], 4096);
}

TEST_F(GgufArchitecture, OfPhi2TurnsAPartOfAHead) {
  for (int64_t turning = 1; turning <= 80; ++turning) {
    const json config = config_of(metadata_of("phi2")
                                      .add("phi2.attention.key_length", uint32_t{80})
                                      .add("phi2.rope.dimension_count", static_cast<uint32_t>(turning)));
    EXPECT_EQ(static_cast<int64_t>(80 * config["partial_rotary_factor"].get<double>()), turning);
  }
  const json config = config_of(metadata_of("phi2"));
  EXPECT_EQ(config["layer_norm_eps"], 1e-5);
  EXPECT_EQ(config["hidden_act"], "gelu_new");
  expect_error(ErrorKind::kUnsupported, {"phi2.rope.dimension_count is 6"},
               [&] { config_of(metadata_of("phi2").add("phi2.rope.dimension_count", uint32_t{6})); });
}

TEST_F(GgufArchitecture, OfPhi3HasAWindowUnlessItIsZero) {
  const auto window = [&](uint32_t stored) {
    return config_of(metadata_of("phi3").add("phi3.attention.sliding_window", stored))["sliding_window"];
  };
  EXPECT_EQ(window(2047), 2047);
  EXPECT_EQ(window(0), json());
  EXPECT_EQ(config_of(metadata_of("phi3"))["original_max_position_embeddings"], 512);
}

TEST_F(GgufArchitecture, OfGemma2HasTheDefaultsOfGgml) {
  const json config = config_of(metadata_of("gemma2", 3).add("gemma2.final_logit_softcapping", 20.0f));
  EXPECT_EQ(config["hidden_activation"], "gelu_pytorch_tanh");
  EXPECT_EQ(config["sliding_window"], 4096);
  EXPECT_EQ(config["layer_types"], (json{"sliding_attention", "full_attention", "sliding_attention"}));
  EXPECT_EQ(config["attn_logit_softcapping"], 50);
  EXPECT_EQ(config["final_logit_softcapping"], 20);
  EXPECT_EQ(config["query_pre_attn_scalar"], 4);
  // The largest of each generation divides by the share of the hidden size, not by the size of a head.
  const json large = config_of(metadata_of("gemma2", 46).add("gemma2.attention.key_length", uint32_t{16}));
  EXPECT_EQ(large["query_pre_attn_scalar"], 4);
  EXPECT_EQ(large["head_dim"], 16);
}

TEST_F(GgufArchitecture, OfGemma3SeesAllInEachSixthLayer) {
  GgufBuilder builder = metadata_of("gemma3", 12);
  builder.add("gemma3.attention.sliding_window", uint32_t{512}).add("gemma3.rope.freq_base", 1e6f);
  const json config = config_of(builder);
  EXPECT_EQ(config["model_type"], "gemma3_text");
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(config["layer_types"][i], i % 6 == 5 ? "full_attention" : "sliding_attention") << i;
  }
  EXPECT_EQ(config["rope_theta"], 1000000);
  EXPECT_EQ(config["rope_local_base_freq"], 10000);
  EXPECT_FALSE(config.contains("final_logit_softcapping"));
  expect_error(ErrorKind::kInvalidInput, {"gemma3.attention.sliding_window is missing"},
               [&] { config_of(metadata_of("gemma3")); });
}

TEST_F(GgufArchitecture, OfGemmaTakesThePatternOfTheFile) {
  const char* field = "gemma3.attention.sliding_window_pattern";
  const auto gemma3 = [] { return metadata_of("gemma3", 3).add("gemma3.attention.sliding_window", uint32_t{512}); };
  const json listed = config_of(gemma3().add_array<uint8_t>(field, {0, 1, 0}));
  EXPECT_EQ(listed["layer_types"], (json{"full_attention", "sliding_attention", "full_attention"}));
  const json counted = config_of(gemma3().add(field, uint32_t{2}));
  EXPECT_EQ(counted["layer_types"], (json{"sliding_attention", "full_attention", "sliding_attention"}));
  expect_error(ErrorKind::kUnsupported, {field, "3 flags"}, [&] {
    config_of(gemma3().add_array<uint8_t>(field, {0, 1}));
  });
  expect_error(ErrorKind::kUnsupported, {field, "is 0"}, [&] { config_of(gemma3().add(field, uint32_t{0})); });
  expect_error(ErrorKind::kUnsupported, {"gemma3.block_count is 4294967295"}, [&] {
    config_of(metadata_of("gemma3", 4294967295u).add("gemma3.attention.sliding_window", uint32_t{512}));
  });
}

TEST_F(GgufArchitecture, FieldsOfAnotherAreRefused) {
  for (const char* family : {"qwen2", "phi3", "gemma2", "smollm3"}) {
    const std::string field = std::string(family) + ".attention.scale";
    expect_error(ErrorKind::kUnsupported, {field + " is 0.5"},
                 [&] { config_of(metadata_of(family).add(field, 0.5f)); });
  }
}

TEST_F(GgufArchitecture, NamesTensorsBothWays) {
  const auto expect = [](const char* model_type, const char* theirs, const char* ours) {
    const auto& architecture = architecture_of(model_type, "model").second;
    EXPECT_EQ(architecture.translate(theirs), ours);
    EXPECT_EQ(architecture.translate_back(ours), theirs);
  };
  expect("mistral", "blk.12.attn_q.weight", "model.layers.12.self_attn.q_proj.weight");
  expect("llama", "output.weight", "lm_head.weight");
  expect("phi3", "blk.0.ffn_up.weight", "model.layers.0.mlp.gate_up_proj.weight");
  expect("phi", "blk.3.attn_output.bias", "model.layers.3.self_attn.dense.bias");
  expect("gemma3_text", "blk.1.post_ffw_norm.weight", "model.layers.1.post_feedforward_layernorm.weight");
  EXPECT_EQ(architecture_of("mistral", "model").first, "llama");
  expect_error(ErrorKind::kUnsupported, {"model.layers.0.moe.weight", "llama"},
               [] { architecture_of("llama", "model").second.translate_back("model.layers.0.moe.weight"); });
  expect_error(ErrorKind::kUnsupported, {"tensor x", "llama"},
               [] { architecture_of("llama", "model").second.translate_back("x"); });
  expect_error(ErrorKind::kUnsupported, {"model", "\"gpt9\""}, [] { architecture_of("gpt9", "model"); });
}

}  // namespace
}  // namespace salient::checkpoint
