#include <gtest/gtest.h>

#include <salient/salient.hpp>

#include "tests/support/expect_error.h"

namespace salient {
namespace {

TEST(GenerationConfig, SetsEveryNumberByItsName) {
  GenerationConfig config;
  for (const std::string& name : GenerationConfig::names()) {
    config.set(name, 1);
    EXPECT_EQ(config.get(name), 1) << name;
    config.set(name, 0);
    EXPECT_EQ(config.get(name), 0) << name;
  }
  config.set("temperature", 0.25);
  config.set("top_k", 7);
  config.set("seed", 0x1p52);
  config.set("top_log_probabilities", -1);
  EXPECT_EQ(config.temperature, 0.25);
  EXPECT_EQ(config.top_k, 7);
  EXPECT_EQ(config.seed, uint64_t{1} << 52);
  EXPECT_EQ(config.top_log_probabilities, -1);
}

std::string refusal_of(const std::string& name, double value) {
  GenerationConfig config;
  try {
    config.set(name, value);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    return error.what();
  }
  return "accepted";
}

TEST(GenerationConfig, RefusesWhatANumberCannotBe) {
  EXPECT_EQ(refusal_of("top_k", 1.5), "top_k is 1.5, expected a whole number");
  EXPECT_EQ(refusal_of("seed", -1), "seed is -1, expected a whole number of 0 or more");
  EXPECT_EQ(refusal_of("max_tokens", 1e300), "max_tokens is 1e+300, expected a whole number");
  EXPECT_EQ(refusal_of("speculate", 2), "speculate is 2, expected 0 or 1");
}

TEST(GenerationConfig, ListsTheOptionsThatThereAre) {
  EXPECT_EQ(refusal_of("top_q", 1),
            "there is no generation option \"top_q\"; there are context, frequency_penalty, max_tokens, min_length, "
            "min_p, no_repeat_ngram_size, presence_penalty, repetition_penalty, seed, speculate, stream, temperature, "
            "top_k, top_log_probabilities, top_p");
  EXPECT_THROW(GenerationConfig().get("foo"), Error);
}

TEST(GenerationConfig, IsCheckedAsAWhole) {
  GenerationConfig config;
  EXPECT_NO_THROW(config.check());
  config.max_tokens = -3;
  EXPECT_THROW(config.check(), Error);
  config.max_tokens = 0;
  config.min_p = 2;
  EXPECT_THROW(config.check(), Error);
}

}  // namespace
}  // namespace salient
