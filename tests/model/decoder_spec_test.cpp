#include "model/decoder_spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/expect_error.h"

namespace salient::model {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;

/// What a config cannot do without.
json smallest_config() {
  return {{"model_type", "llama"},   {"vocab_size", 1000},           {"hidden_size", 128},
          {"intermediate_size", 96}, {"num_hidden_layers", 3},       {"num_attention_heads", 4},
          {"rms_norm_eps", 1e-6},    {"max_position_embeddings", 77}};
}

DecoderSpec read(const json& changes = json::object(), const json& generation_config = json::object()) {
  json config = smallest_config();
  config.update(changes);
  return read_decoder_spec(config, generation_config, "config.json");
}

/// A config whose `field` is `value` must be refused, naming both.
void expect_refused(const std::string& field, const json& value, ErrorKind kind) {
  expect_error(kind, {"config.json: " + field + " is " + value.dump()}, [&] { read({{field, value}}); });
}

/// All dimensions of a head turn, pair i by theta^(-2 i / head_dim).
void expect_theta(const DecoderSpec& spec, double theta) {
  ASSERT_EQ(spec.ropes.size(), 1u);
  const Rope& rope = spec.ropes[0];
  EXPECT_EQ(rope.rotary_dim, spec.head_dim);
  EXPECT_EQ(rope.magnitude, 1.0f);
  ASSERT_EQ(std::ssize(rope.frequencies), spec.head_dim / 2);
  for (int64_t i = 0; i < spec.head_dim / 2; ++i) {
    const double expected = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(spec.head_dim));
    EXPECT_NEAR(rope.frequencies[i], expected, 2e-7 * expected);
  }
}

TEST(DecoderSpec, HasTheFieldsOfTheConfig) {
  const DecoderSpec spec = read({{"model_type", "mistral"},
                                 {"num_key_value_heads", 2},
                                 {"head_dim", 64},
                                 {"rope_theta", 500000},
                                 {"tie_word_embeddings", true},
                                 {"hidden_act", "silu"}});
  EXPECT_EQ(spec.family, "mistral");
  EXPECT_EQ(spec.vocab_size, 1000);
  EXPECT_EQ(spec.hidden_size, 128);
  EXPECT_EQ(spec.intermediate_size, 96);
  EXPECT_EQ(spec.layers, 3);
  EXPECT_EQ(spec.heads, 4);
  EXPECT_EQ(spec.kv_heads, 2);
  EXPECT_EQ(spec.head_dim, 64);
  EXPECT_EQ(spec.max_positions, 77);
  EXPECT_EQ(spec.norm_epsilon, 1e-6f);
  expect_theta(spec, 500000.0);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.query_size(), 256);
  EXPECT_EQ(spec.kv_size(), 128);
}

TEST(DecoderSpec, HasTheDefaultsOfTransformers) {
  const DecoderSpec spec = read();
  EXPECT_EQ(spec.kv_heads, 4);
  EXPECT_EQ(spec.head_dim, 32);
  expect_theta(spec, 10000.0);
  EXPECT_FALSE(spec.tied_embeddings);
  EXPECT_TRUE(spec.end_of_sequence.empty());
}

TEST(DecoderSpec, TakesNullForAbsent) {
  const DecoderSpec spec = read({{"num_key_value_heads", nullptr},
                                 {"head_dim", nullptr},
                                 {"rope_theta", nullptr},
                                 {"rope_parameters", nullptr},
                                 {"rope_scaling", nullptr},
                                 {"sliding_window", nullptr},
                                 {"tie_word_embeddings", nullptr},
                                 {"eos_token_id", nullptr}});
  EXPECT_EQ(spec.kv_heads, 4);
  EXPECT_EQ(spec.head_dim, 32);
  expect_theta(spec, 10000.0);
}

TEST(DecoderSpec, NamesAFieldThatIsMissing) {
  for (const char* field : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "rms_norm_eps", "max_position_embeddings"}) {
    json config = smallest_config();
    config.erase(field);
    expect_error(ErrorKind::kInvalidInput, {std::string("config.json: ") + field + " is missing"},
                 [&] { read_decoder_spec(config, json::object(), "config.json"); });
  }
}

TEST(DecoderSpec, RefusesSizesThatAreNotPossible) {
  for (const char* field : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const json& value : {json(0), json(-1), json(1.5), json("8"), json(true), json::array({8}),
                              json(uint64_t{1} << 32), json(~uint64_t{0})}) {
      expect_refused(field, value, ErrorKind::kInvalidInput);
    }
  }
}

TEST(DecoderSpec, RefusesNumbersThatAreNotAboveZero) {
  for (const char* field : {"rms_norm_eps", "rope_theta"}) {
    for (const json& value : {json(0), json(-1.0), json("1e-5"), json(true)}) {
      expect_refused(field, value, ErrorKind::kInvalidInput);
    }
  }
}

TEST(DecoderSpec, RefusesAFlagThatIsNoBool) {
  expect_refused("tie_word_embeddings", 1, ErrorKind::kInvalidInput);
  expect_refused("tie_word_embeddings", "true", ErrorKind::kInvalidInput);
}

TEST(DecoderSpec, RefusesOtherFamilies) {
  for (const json& family : {json("gpt2"), json(""), json(7), json()}) {
    expect_error(ErrorKind::kUnsupported, {"config.json: model_type is ", family.dump(), "llama, mistral, phi, phi3"},
                 [&] {
                   read({{"model_type", family}});
                 });
  }
  for (const json& config : {json(), json::array({1}), json("llama"), json::object()}) {
    expect_error(ErrorKind::kUnsupported, {"config.json: model_type is "},
                 [&] { read_decoder_spec(config, json::object(), "config.json"); });
  }
}

TEST(DecoderSpec, RefusesOtherMathematics) {
  expect_refused("hidden_act", "gelu", ErrorKind::kUnsupported);
  for (const auto& [field, value] : std::map<std::string, json>{{"sliding_window", 4096},
                                                                {"pretraining_tp", 2},
                                                                {"layer_types", {"full_attention"}},
                                                                {"attn_logit_softcapping", 50.0},
                                                                {"final_logit_softcapping", 30.0},
                                                                {"query_pre_attn_scalar", 256},
                                                                {"embedding_multiplier", 12.0},
                                                                {"residual_multiplier", 0.2},
                                                                {"logits_scaling", 8.0},
                                                                {"num_local_experts", 8},
                                                                {"clip_qkv", 8.0},
                                                                {"no_rope_layers", {0, 1, 1}}}) {
    expect_refused(field, value, ErrorKind::kUnsupported);
  }
  EXPECT_NO_THROW(read({{"partial_rotary_factor", 1.0}, {"pretraining_tp", 1}}));
}

TEST(DecoderSpec, ReadsRopeParameters) {
  expect_theta(read({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 123.0}}}}), 123.0);
  expect_theta(read({{"rope_parameters", json::object()}}), 10000.0);
  expect_theta(read({{"rope_parameters", {{"rope_type", "default"}}}, {"rope_theta", 456.0}}), 456.0);
}

TEST(DecoderSpec, ReadsRopeFrequenciesThatAreListed) {
  json parameters = {{"rope_type", "frequencies"}, {"frequencies", {1.0, 0.25, 0.0625}}, {"magnitude", 1.5}};
  const Rope rope = read({{"rope_parameters", parameters}}).ropes[0];
  EXPECT_EQ(rope.rotary_dim, 6);
  EXPECT_EQ(rope.frequencies, (std::vector<float>{1, 0.25f, 0.0625f}));
  EXPECT_EQ(rope.magnitude, 1.5f);
  EXPECT_FALSE(rope.has_regimes());
  parameters["long_frequencies"] = {0.5, 0.125, 0.03125};
  parameters["original_max_position_embeddings"] = 64;
  const Rope longer = read({{"rope_parameters", parameters}}).ropes[0];
  EXPECT_EQ(longer.long_frequencies, (std::vector<float>{0.5f, 0.125f, 0.03125f}));
  EXPECT_EQ(longer.original_positions, 64);
  const auto refuse = [&](const char* field, const json& value, ErrorKind kind) {
    json changed = parameters;
    changed[field] = value;
    expect_error(kind, {"config.json: rope_parameters", field}, [&] { read({{"rope_parameters", changed}}); });
  };
  refuse("frequencies", json::array(), ErrorKind::kUnsupported);
  refuse("frequencies", std::vector<double>(1000, 1.0), ErrorKind::kUnsupported);
  refuse("frequencies", {1.0, -0.25, 0.0625}, ErrorKind::kInvalidInput);
  refuse("long_frequencies", {1.0, 0.25}, ErrorKind::kInvalidInput);
  refuse("original_max_position_embeddings", nullptr, ErrorKind::kInvalidInput);
  refuse("magnitude", 0, ErrorKind::kInvalidInput);
}

TEST(DecoderSpec, RefusesRopeParametersOfOtherMathematics) {
  const auto expect_part_refused = [](const json& parameters, const std::string& field, ErrorKind kind) {
    expect_error(kind, {"config.json: rope_parameters", field}, [&] { read({{"rope_parameters", parameters}}); });
  };
  expect_part_refused({{"rope_type", "ntk"}}, "rope_type is \"ntk\"", ErrorKind::kUnsupported);
  expect_part_refused({{"rope_type", "yarn"}}, "factor is missing", ErrorKind::kInvalidInput);
  expect_part_refused({{"rope_type", "default"}, {"factor", 4.0}}, "factor is 4.0", ErrorKind::kUnsupported);
  expect_part_refused({{"rope_type", "linear"}, {"factor", 4.0}, {"beta_fast", 32}}, "beta_fast is 32",
                      ErrorKind::kUnsupported);
  expect_part_refused({{"rope_theta", -1.0}}, "rope_theta is -1.0", ErrorKind::kInvalidInput);
  expect_part_refused(7, "is 7", ErrorKind::kUnsupported);
  expect_part_refused(json::array(), "is []", ErrorKind::kUnsupported);
  const std::vector<double> sixteen(16, 1.5);
  const std::vector<double> fifteen(15, 1.5);
  expect_part_refused({{"rope_type", "longrope"},
                       {"short_factor", sixteen},
                       {"long_factor", fifteen},
                       {"original_max_position_embeddings", 16}},
                      "long_factor", ErrorKind::kInvalidInput);
}

TEST(DecoderSpec, StretchesFrequenciesLinearly) {
  const Rope rope = read({{"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}}).ropes[0];
  for (size_t i = 0; i < 16; ++i) {
    const double expected = std::pow(10000.0, -static_cast<double>(i) / 16) / 4;
    EXPECT_NEAR(rope.frequencies[i], expected, 2e-7 * expected);
  }
}

TEST(DecoderSpec, HasTwoRegimesWithLongrope) {
  std::vector<double> short_factors(16, 1.25);
  std::vector<double> long_factors(16, 8);
  const DecoderSpec spec =
      read({{"max_position_embeddings", 64},
            {"original_max_position_embeddings", 16},
            {"rope_scaling", {{"type", "su"}, {"short_factor", short_factors}, {"long_factor", long_factors}}}});
  EXPECT_EQ(spec.original_positions(), 16);
  const Rope& rope = spec.ropes[0];
  EXPECT_NEAR(rope.magnitude, std::sqrt(1 + std::log(4.0) / std::log(16.0)), 1e-6);
  EXPECT_NEAR(rope.frequencies[3] / rope.long_frequencies[3], 8 / 1.25, 1e-5);
}

TEST(DecoderSpec, KnowsWhichLayersLookBackAWindow) {
  const auto windows = [](const json& changes) {
    std::vector<int64_t> list;
    for (const LayerAttention& layer : read(changes).attention) list.push_back(layer.window);
    return list;
  };
  using List = std::vector<int64_t>;
  EXPECT_EQ(windows({{"model_type", "mistral"}, {"sliding_window", 8}}), (List{8, 8, 8}));
  EXPECT_EQ(windows({{"model_type", "mistral"}, {"sliding_window", nullptr}}), (List{0, 0, 0}));
  EXPECT_EQ(windows({{"model_type", "qwen2"}, {"sliding_window", 8}, {"use_sliding_window", false}}), (List{0, 0, 0}));
  EXPECT_EQ(
      windows({{"model_type", "qwen2"}, {"sliding_window", 8}, {"use_sliding_window", true}, {"max_window_layers", 2}}),
      (List{0, 0, 8}));
  EXPECT_EQ(windows({{"model_type", "gemma2"}, {"sliding_window", 8}}), (List{8, 0, 8}));
  EXPECT_EQ(windows({{"model_type", "gemma3_text"}, {"sliding_window", 8}, {"sliding_window_pattern", 2}}),
            (List{8, 0, 8}));
  EXPECT_EQ(windows({{"model_type", "gemma3_text"},
                     {"sliding_window", 8},
                     {"layer_types", {"full_attention", "sliding_attention", "full_attention"}}}),
            (List{0, 8, 0}));
}

TEST(DecoderSpec, KnowsWhichLayersOfSmolLm3DoNotTurn) {
  const auto ropes = [](const json& changes) {
    std::vector<int> list;
    for (const LayerAttention& layer : read(changes).attention) list.push_back(layer.rope);
    return list;
  };
  EXPECT_EQ(ropes({{"model_type", "smollm3"}, {"no_rope_layer_interval", 2}}), (std::vector<int>{0, -1, 0}));
  EXPECT_EQ(ropes({{"model_type", "smollm3"}, {"no_rope_layers", {0, 1, 1}}}), (std::vector<int>{-1, 0, 0}));
}

TEST(DecoderSpec, RefusesHeadsThatDoNotFit) {
  expect_error(ErrorKind::kInvalidInput, {"num_attention_heads is 4", "num_key_value_heads, 3"}, [] {
    read({{"num_key_value_heads", 3}});
  });
  expect_error(ErrorKind::kInvalidInput, {"num_attention_heads is 4", "num_key_value_heads, 8"}, [] {
    read({{"num_key_value_heads", 8}});
  });
  expect_error(ErrorKind::kInvalidInput, {"hidden_size is 130", "num_attention_heads, 4"}, [] {
    read({{"hidden_size", 130}});
  });
  for (const int head_dim : {8, 24, 272, 512}) {
    expect_error(ErrorKind::kUnsupported, {"head_dim is " + std::to_string(head_dim), "16 up to 256"}, [&] {
      read({{"head_dim", head_dim}});
    });
  }
  EXPECT_EQ(read({{"hidden_size", 130}, {"head_dim", 256}}).head_dim, 256);
}

TEST(DecoderSpec, EndsRepliesAsTheGenerationConfigSays) {
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(read({{"eos_token_id", 2}}).end_of_sequence, (Ids{2}));
  EXPECT_EQ(read({{"eos_token_id", {2, 5}}}).end_of_sequence, (Ids{2, 5}));
  EXPECT_EQ(read({{"eos_token_id", 2}}, {{"eos_token_id", {7, 8}}}).end_of_sequence, (Ids{7, 8}));
  EXPECT_EQ(read({{"eos_token_id", 2}}, {{"eos_token_id", nullptr}}).end_of_sequence, (Ids{2}));
  EXPECT_EQ(read(json::object(), {{"eos_token_id", 9}}).end_of_sequence, (Ids{9}));
}

TEST(DecoderSpec, RefusesAnEndThatIsNoTokenId) {
  for (const json& value : {json("</s>"), json(1.5), json::array({1, "2"}), json{{"id", 1}}, json(-1),
                            json(uint64_t{1} << 32), json::array({1, ~uint64_t{0}})}) {
    expect_refused("eos_token_id", value, ErrorKind::kInvalidInput);
  }
}

}  // namespace
}  // namespace salient::model
