#include "convert/genai_config.h"

#include <gtest/gtest.h>

#include "model/decoder_spec.h"
#include "tests/support/tiny_model.h"

namespace salient::convert {
namespace {

using nlohmann::json;

json make(json config, json generation_config, OnnxLayout layout = OnnxLayout::kCpu) {
  checkpoint::Checkpoint source;
  source.config = std::move(config);
  source.generation_config = std::move(generation_config);
  const model::DecoderSpec spec = model::read_decoder_spec(source.config, source.generation_config, "test");
  return make_genai_config(source, spec, layout);
}

TEST(GenaiConfig, SaysTheShape) {
  const json config = make(tests::tiny_config({}), json::object());
  const json& model = config["model"];
  EXPECT_EQ(model["type"], "llama");
  EXPECT_EQ(model["vocab_size"], 256);
  EXPECT_EQ(model["context_length"], 512);
  EXPECT_EQ(model["eos_token_id"], 2);
  EXPECT_EQ(model["pad_token_id"], 2);
  EXPECT_FALSE(model.contains("bos_token_id"));
  EXPECT_EQ(model["decoder"]["head_size"], 16);
  EXPECT_EQ(model["decoder"]["num_key_value_heads"], 2);
  EXPECT_EQ(model["decoder"]["session_options"]["provider_options"], json::array());
  EXPECT_FALSE(model["decoder"]["inputs"].contains("position_ids"));
  EXPECT_EQ(config["search"]["max_length"], 512);
}

TEST(GenaiConfig, NamesTheProviderAndPositionsOfDirectMl) {
  const json decoder = make(tests::tiny_config({}), json::object(), OnnxLayout::kDml)["model"]["decoder"];
  EXPECT_EQ(decoder["session_options"]["provider_options"], json::parse(R"([{"dml": {}}])"));
  EXPECT_EQ(decoder["inputs"]["position_ids"], "position_ids");
}

TEST(GenaiConfig, TakesTokensAndSamplingFromTheGenerationConfig) {
  const json config = make(tests::tiny_config({}), {{"eos_token_id", {7, 8}},
                                                    {"bos_token_id", 1},
                                                    {"pad_token_id", 9},
                                                    {"do_sample", true},
                                                    {"temperature", 0.6},
                                                    {"top_k", 20},
                                                    {"top_p", "all"},
                                                    {"transformers_version", "4"}});
  EXPECT_EQ(config["model"]["eos_token_id"], json({7, 8}));
  EXPECT_EQ(config["model"]["bos_token_id"], 1);
  EXPECT_EQ(config["model"]["pad_token_id"], 9);
  EXPECT_EQ(config["search"]["do_sample"], true);
  EXPECT_EQ(config["search"]["temperature"], 0.6);
  EXPECT_EQ(config["search"]["top_k"], 20);
  EXPECT_EQ(config["search"]["top_p"], 1.0);
  EXPECT_FALSE(config["search"].contains("transformers_version"));
}

}  // namespace
}  // namespace salient::convert
