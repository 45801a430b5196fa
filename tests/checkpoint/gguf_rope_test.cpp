#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numbers>

#include "checkpoint/gguf.h"
#include "tests/checkpoint/gguf_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;

class GgufRope : public testing::Test {
 protected:
  json scaling_of(GgufBuilder builder) const {
    add_byte_level_vocabulary(builder);
    builder.write(folder_.path() / "model.gguf");
    return make_config(parse_gguf(folder_.path() / "model.gguf"))["rope_scaling"];
  }
  void expect_refused(ErrorKind kind, const std::vector<std::string>& parts, const GgufBuilder& builder) const {
    expect_error(kind, parts, [&] { scaling_of(builder); });
  }

 private:
  tests::TemporaryFolder folder_;
};

GgufBuilder with_factors(GgufBuilder builder, const std::string& name, const std::vector<float>& factors) {
  std::string bytes(factors.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), factors.data(), bytes.size());
  return builder.tensor(name, {factors.size()}, kGgmlF32, bytes);
}

/// A llama file with heads of 128 and the base frequency of Llama 3.
GgufBuilder llama3() {
  GgufBuilder builder = metadata_of("llama");
  return builder.add("llama.attention.key_length", uint32_t{128}).add("llama.rope.freq_base", 500000.0f);
}

/// The factors of a Llama 3, as Meta's code computes them.
std::vector<float> llama3_factors(double factor, double low, double high, double original) {
  std::vector<float> factors;
  for (int i = 0; i < 64; ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(500000.0, i / 64.0);
    if (wavelength < original / high) {
      factors.push_back(1);
    } else if (wavelength > original / low) {
      factors.push_back(static_cast<float>(factor));
    } else {
      const double smooth = (original / wavelength - low) / (high - low);
      factors.push_back(static_cast<float>(1 / ((1 - smooth) / factor + smooth)));
    }
  }
  return factors;
}

TEST_F(GgufRope, WithoutScalingHasNone) {
  EXPECT_EQ(scaling_of(metadata_of("llama")), json());
  EXPECT_EQ(scaling_of(metadata_of("llama").add("llama.rope.scaling.type", "none")), json());
  EXPECT_EQ(scaling_of(with_factors(metadata_of("llama"), "rope_freqs.weight", {1, 1})), json());
}

TEST_F(GgufRope, IsLinearOrYarn) {
  EXPECT_EQ(scaling_of(metadata_of("gemma3")
                           .add("gemma3.attention.sliding_window", uint32_t{512})
                           .add("gemma3.rope.scaling.type", "linear")
                           .add("gemma3.rope.scaling.factor", 8.0f)),
            (json{{"rope_type", "linear"}, {"factor", 8}}));
  EXPECT_EQ(
      scaling_of(metadata_of("qwen2")
                     .add("qwen2.rope.scaling.type", "yarn")
                     .add("qwen2.rope.scaling.factor", 4.0f)
                     .add("qwen2.rope.scaling.yarn_beta_fast", 24.0f)
                     .add("qwen2.rope.scaling.original_context_length", uint32_t{32768})),
      (json{{"rope_type", "yarn"}, {"factor", 4}, {"beta_fast", 24}, {"original_max_position_embeddings", 32768}}));
}

TEST_F(GgufRope, OfLlama3IsFoundByItsFactors) {
  for (const auto& [factor, original] : {std::pair{8, 8192}, std::pair{32, 8192}, std::pair{16, 4096}}) {
    const auto factors = llama3_factors(factor, 1, 4, original);
    EXPECT_EQ(scaling_of(with_factors(llama3(), "rope_freqs.weight", factors)),
              (json{{"rope_type", "llama3"},
                    {"factor", static_cast<double>(factor)},
                    {"low_freq_factor", 1.0},
                    {"high_freq_factor", 4.0},
                    {"original_max_position_embeddings", original}}));
  }
}

TEST_F(GgufRope, FactorsThatAreNotThoseOfLlama3AreRefused) {
  auto factors = llama3_factors(8, 1, 4, 8192);
  factors[40] *= 1.01f;
  expect_refused(ErrorKind::kUnsupported, {"rope_freqs.weight"}, with_factors(llama3(), "rope_freqs.weight", factors));
  factors[40] = 0;
  expect_refused(ErrorKind::kInvalidInput, {"rope_freqs.weight holds 0"},
                 with_factors(llama3(), "rope_freqs.weight", factors));
  factors.pop_back();
  expect_refused(ErrorKind::kInvalidInput, {"rope_freqs.weight is F32 [63]", "[64]"},
                 with_factors(llama3(), "rope_freqs.weight", factors));
  expect_refused(ErrorKind::kUnsupported, {"llama.rope.scaling.type is \"linear\""},
                 with_factors(llama3().add("llama.rope.scaling.type", "linear"), "rope_freqs.weight",
                              llama3_factors(8, 1, 4, 8192)));
}

GgufBuilder longrope(GgufBuilder builder) {
  builder = with_factors(std::move(builder), "rope_factors_short.weight", {1.0f, 1.25f});
  return with_factors(std::move(builder), "rope_factors_long.weight", {1.5f, 60.5f});
}

TEST_F(GgufRope, OfPhi3HasShortAndLongFactors) {
  const auto phi3 = [] { return metadata_of("phi3").add("phi3.rope.scaling.original_context_length", uint32_t{64}); };
  const json expected = {{"type", "longrope"}, {"short_factor", {1.0, 1.25}}, {"long_factor", {1.5, 60.5}}};
  EXPECT_EQ(scaling_of(longrope(phi3())), expected);
  // sqrt(1 + ln(512 / 64) / ln(64)) = sqrt(1.5) is what config.json means without saying it.
  EXPECT_EQ(scaling_of(longrope(phi3().add("phi3.rope.scaling.attn_factor", 1.2247449f))), expected);
  EXPECT_EQ(scaling_of(longrope(phi3().add("phi3.rope.scaling.attn_factor", 1.25f)))["attention_factor"], 1.25);
}

TEST_F(GgufRope, WithHalfOfItsFactorsOrInAnotherFamilyIsRefused) {
  expect_refused(ErrorKind::kInvalidInput, {"has no tensor rope_factors_long.weight"},
                 with_factors(metadata_of("phi3"), "rope_factors_short.weight", {1, 1}));
  expect_refused(ErrorKind::kInvalidInput, {"has no tensor rope_factors_short.weight"},
                 metadata_of("phi3").add("phi3.rope.scaling.type", "longrope"));
  expect_refused(ErrorKind::kUnsupported, {"rope_factors_long.weight", "qwen2"}, longrope(metadata_of("qwen2")));
  expect_refused(ErrorKind::kUnsupported, {"phi3.rope.scaling.original_context_length is 1"},
                 longrope(metadata_of("phi3").add("phi3.rope.scaling.original_context_length", uint32_t{1})));
}

TEST_F(GgufRope, WithWhatConfigJsonHasNoWordsForIsRefused) {
  expect_refused(ErrorKind::kUnsupported, {"llama.rope.scaling.type is \"dynamic\""},
                 metadata_of("llama").add("llama.rope.scaling.type", "dynamic"));
  for (const char* field : {"qwen2.rope.scaling.yarn_attn_factor", "qwen2.rope.scaling.yarn_ext_factor",
                            "qwen2.rope.scaling.yarn_log_multiplier", "qwen2.rope.scale_linear"}) {
    expect_refused(ErrorKind::kUnsupported, {field},
                   metadata_of("qwen2")
                       .add("qwen2.rope.scaling.type", "yarn")
                       .add("qwen2.rope.scaling.factor", 4.0f)
                       .add(field, 2.0f));
  }
  expect_refused(ErrorKind::kUnsupported, {"llama.rope.scaling.factor is 4"},
                 metadata_of("llama").add("llama.rope.scaling.factor", 4.0f));
}

}  // namespace
}  // namespace salient::checkpoint
