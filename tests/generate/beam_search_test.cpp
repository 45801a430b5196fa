#include "generate/beam_search.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "generate/token_generator.h"
#include "tests/support/tiny_runner.h"

namespace salient::generate {
namespace {

using Ids = std::vector<int32_t>;
using nlohmann::json;

/// A model of tests/golden with nothing rounded, as transformers ran it.
class GoldenRunner {
 public:
  explicit GoldenRunner(const std::string& name)
      : runner_(std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(
                    std::filesystem::path(SALIENT_SOURCE_DIR) / "tests" / "golden" / name))),
                pool_, {.activations = runner::Activations::kFp32, .kv_dtype = core::DType::kF32}) {}
  runner::CpuRunner& operator*() { return runner_; }

 private:
  core::ThreadPool pool_{2};
  runner::CpuRunner runner_;
};

BeamOptions beam_options(const json& golden) {
  const json& options = golden["options"];
  BeamOptions result;
  result.beams = options["num_beams"];
  result.sequences = options.value("num_return_sequences", 1);
  result.length_penalty = options.value("length_penalty", 1.0);
  result.early_stopping = options.value("early_stopping", false);
  result.max_tokens = golden["max_tokens"];
  result.min_length = options.value("min_length", 0);
  result.repetition_penalty = options.value("repetition_penalty", 1.0f);
  result.no_repeat_ngram_size = options.value("no_repeat_ngram_size", 0);
  result.ends = golden["ends"].get<Ids>();
  return result;
}

std::vector<json> goldens_of(const std::string& model, bool with_beams) {
  std::vector<json> goldens;
  for (json& golden : tests::read_json(std::filesystem::path(SALIENT_SOURCE_DIR) / "tests" / "golden" / "beams.json")) {
    if (golden["model"] == model && (golden["options"]["num_beams"] > 1) == with_beams) goldens.push_back(golden);
  }
  EXPECT_GT(goldens.size(), 10u);
  return goldens;
}

class GoldenBeams : public testing::TestWithParam<std::string> {};

TEST_P(GoldenBeams, AreThoseOfTransformers) {
  GoldenRunner runner(GetParam());
  int ended = 0;
  for (const json& golden : goldens_of(GetParam(), true)) {
    const auto beams = search_beams(*runner, golden["prompt"].get<Ids>(), beam_options(golden));
    ASSERT_EQ(beams.size(), golden["replies"].size()) << golden.dump();
    for (size_t i = 0; i < beams.size(); ++i) {
      EXPECT_EQ(beams[i].ids, golden["replies"][i]["ids"].get<Ids>()) << i << " of " << golden.dump();
      EXPECT_NEAR(beams[i].score, golden["replies"][i]["score"].get<double>(), 1e-3) << i << " of " << golden.dump();
      EXPECT_EQ(beams[i].ended, golden["replies"][i]["ended"].get<bool>()) << i << " of " << golden.dump();
      ended += beams[i].ended;
    }
  }
  EXPECT_GE(ended, 5) << "the case is not tested";
}

TEST_P(GoldenBeams, PenaltiesAreThoseOfTransformers) {
  GoldenRunner runner(GetParam());
  for (const json& golden : goldens_of(GetParam(), false)) {
    const json& options = golden["options"];
    TokenGenerator generator(*runner, {.sampling = {.temperature = 0,
                                                    .repetition_penalty = options.value("repetition_penalty", 1.0f),
                                                    .no_repeat_ngram_size = options.value("no_repeat_ngram_size", 0)},
                                       .max_tokens = golden["max_tokens"],
                                       .min_length = options.value("min_length", 0),
                                       .ends = golden["ends"].get<Ids>()});
    const Ids prompt = golden["prompt"];
    generator.append(prompt);
    while (!generator.finish()) generator.next();
    EXPECT_EQ(Ids(generator.tokens().begin() + std::ssize(prompt), generator.tokens().end()),
              golden["replies"][0]["ids"].get<Ids>())
        << golden.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenBeams, testing::Values("linear", "llama32"));

TEST(BeamSearch, WithOneBeamIsGreedy) {
  tests::TinyRunner runner({.vocab_size = 320, .tied = false});
  const Ids prompt = {'a', 'b'};
  TokenGenerator generator(*runner, {.sampling = {.temperature = 0}});
  generator.append(prompt);
  for (int i = 0; i < 12; ++i) generator.next();
  const auto beams = search_beams(*runner, prompt, {.beams = 1, .max_tokens = 12});
  EXPECT_EQ(beams[0].ids, Ids(generator.tokens().begin() + 2, generator.tokens().end()));
}

TEST(BeamSearch, RefusesWhatMakesNoSense) {
  tests::TinyRunner runner({.vocab_size = 320, .tied = false});
  const auto refusal_of = [&](const Ids& prompt, const BeamOptions& options) -> std::string {
    try {
      search_beams(*runner, prompt, options);
    } catch (const core::Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal_of({'a'}, {.beams = 0}), "num-beams is 0, expected 1 to 32");
  EXPECT_EQ(refusal_of({'a'}, {.beams = 33}), "num-beams is 33, expected 1 to 32");
  EXPECT_EQ(refusal_of({'a'}, {.beams = 2, .sequences = 3}), "num-return-sequences is 3, expected 1 to 2, the beams");
  EXPECT_EQ(refusal_of({}, {}), "the prompt is empty");
  EXPECT_EQ(refusal_of({320}, {}), "token 320 is outside the model's vocabulary of 320");
  EXPECT_EQ(refusal_of(Ids(600, 'a'), {}), "the prompt has 600 tokens, but the context holds 512, the reply included");
  std::stop_source source;
  source.request_stop();
  EXPECT_THROW(search_beams(*runner, Ids{'a'}, {}, source.get_token()), core::Error);
}

}  // namespace
}  // namespace salient::generate
