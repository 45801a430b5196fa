#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::text {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What the constructor says about a text, kind first.
std::string refusal_of(const std::string& json) {
  try {
    const Tokenizer tokenizer(json, "models/x");
  } catch (const core::Error& error) {
    return std::string(core::name_of(error.kind())) + ": " + error.what();
  }
  return "accepted";
}

TEST(Tokenizer, EncodesToTheIdsOfItsVocabulary) {
  const Tokenizer bytes(tests::byte_level_tokenizer(), "x");
  EXPECT_EQ(bytes.encode("Hi é", false), (Ids{'H', 'i', ' ', 0xC3, 0xA9}));
  EXPECT_EQ(bytes.encode("", true), Ids{});
  const Tokenizer pieces(tests::sentencepiece_tokenizer(), "x");
  EXPECT_EQ(pieces.encode("a b", false), (Ids{286, 259, 261}));
  EXPECT_EQ(pieces.encode("é", false), (Ids{259, 3 + 0xC3, 3 + 0xA9}));
}

TEST(Tokenizer, AddsSpecialTokensOnlyWhenAsked) {
  const Tokenizer tokenizer(tests::sentencepiece_tokenizer(), "x");
  EXPECT_EQ(tokenizer.encode("a", true), (Ids{1, 286}));
  EXPECT_EQ(tokenizer.encode("a", false), (Ids{286}));
}

TEST(Tokenizer, RecognisesSpecialTokensSpelledInTheText) {
  const Tokenizer tokenizer(tests::byte_level_tokenizer(), "x");
  EXPECT_EQ(tokenizer.encode("a<|end|>b", false), (Ids{'a', 256, 'b'}));
  EXPECT_EQ(tokenizer.decode(Ids{'a', 256, 'b'}, false), "a<|end|>b");
  EXPECT_EQ(tokenizer.decode(Ids{'a', 256, 'b'}, true), "ab");
}

TEST(Tokenizer, DecodesAsItsDecoderSays) {
  const Tokenizer tokenizer(tests::sentencepiece_tokenizer(), "x");
  EXPECT_EQ(tokenizer.decode(Ids{286, 286}, false), "a a");
  EXPECT_EQ(tokenizer.decode(Ids{3 + 0xF0, 3 + 0x9F, 3 + 0x98, 3 + 0x80}, false), "😀");
  EXPECT_EQ(tokenizer.decode(Ids{3 + 0xF0, 3 + 0x9F, 260}, false),
            "\xef\xbf\xbd\xef\xbf\xbd"
            "a");
  EXPECT_EQ(tokenizer.decode(Ids{}, false), "");
}

TEST(Tokenizer, AnIdOutsideTheVocabularyHasNoText) {
  const Tokenizer tokenizer(tests::byte_level_tokenizer(), "x");
  EXPECT_EQ(tokenizer.decode(Ids{'a', 257, 40000, -1, 'b'}, true), "ab");
}

TEST(Tokenizer, TellsIdsOfTokensAndTheSizeOfItsVocabulary) {
  const Tokenizer tokenizer(tests::byte_level_tokenizer(), "x");
  EXPECT_EQ(tokenizer.id_of("<|end|>"), 256);
  EXPECT_EQ(tokenizer.id_of("A"), 'A');
  EXPECT_EQ(tokenizer.id_of("<|nothing|>"), std::nullopt);
  EXPECT_EQ(tokenizer.id_of("\xff"), std::nullopt);
  EXPECT_EQ(tokenizer.vocab_size(), 257);
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const Tokenizer tokenizer(tests::byte_level_tokenizer(), "models/x");
  for (const char* bad : {"abc\xff", "abc\xe4\xbd", "abc\xed\xa0\x80", "abc\xc0\x80"}) {
    try {
      tokenizer.encode(bad, false);
      ADD_FAILURE() << "accepted";
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInvalidInput);
      EXPECT_STREQ(error.what(), "models/x: the text cannot be encoded: the text is not UTF-8: byte 3 is wrong");
    }
  }
}

TEST(Tokenizer, RefusesABrokenDescription) {
  EXPECT_EQ(refusal_of(""), "not_found: models/x: has no tokenizer (tokenizer.json)");
  const std::string whole = tests::byte_level_tokenizer();
  for (const std::string& broken : {std::string("{"), std::string("[]"), std::string("\xff"), std::string("null"),
                                    whole.substr(0, whole.size() / 2), std::string(100000, '[')}) {
    EXPECT_TRUE(refusal_of(broken).starts_with("invalid_input: models/x: tokenizer.json: ")) << refusal_of(broken);
  }
}

TEST(Tokenizer, RefusesIdsThatDoNotFitItsInterface) {
  nlohmann::json description = nlohmann::json::parse(tests::byte_level_tokenizer());
  description["model"]["vocab"]["huge"] = 4294967295u;
  EXPECT_EQ(refusal_of(description.dump()),
            "invalid_input: models/x: tokenizer.json: token \"huge\" has the id 4294967295, expected less than "
            "2147483647");
}

TEST(Tokenizer, ADamagedDescriptionIsRefusedOrWorks) {
  std::mt19937 engine(1);
  for (const std::string& whole : {tests::byte_level_tokenizer(), tests::sentencepiece_tokenizer()}) {
    for (int round = 0; round < 300; ++round) {
      std::string damaged = whole;
      for (int i = 0; i < 2; ++i) damaged[engine() % whole.size()] = "0\"{}[],:9a"[engine() % 10];
      try {
        const Tokenizer tokenizer(damaged, "models/x");
        tokenizer.decode(tokenizer.encode("a b<|end|>é", true), false);
      } catch (const core::Error& error) {
        EXPECT_TRUE(std::string(error.what()).starts_with("models/x: ")) << error.what();
      }
    }
  }
}

TEST(Tokenizer, CutsAndPadsNothingWhateverTheFileAsksFor) {
  nlohmann::json description = nlohmann::json::parse(tests::byte_level_tokenizer());
  description["truncation"] = {{"direction", "Right"}, {"max_length", 2}, {"strategy", "LongestFirst"}, {"stride", 0}};
  description["padding"] = {
      {"strategy", {{"Fixed", 6}}}, {"direction", "Right"},  {"pad_to_multiple_of", nullptr}, {"pad_id", 256},
      {"pad_type_id", 0},           {"pad_token", "<|end|>"}};
  const Tokenizer tokenizer(description.dump(), "x");
  EXPECT_EQ(tokenizer.encode("abc", true), (Ids{'a', 'b', 'c'}));
}

/// Goldens of the reference implementation: ids with and without special tokens, and decodings of the latter.
void expect_goldens(const Tokenizer& tokenizer, const nlohmann::json& goldens) {
  ASSERT_GE(goldens["cases"].size(), 75u);
  for (const nlohmann::json& golden : goldens["cases"]) {
    const auto text = golden["text"].get<std::string>();
    const auto ids = golden["ids"].get<Ids>();
    EXPECT_EQ(tokenizer.encode(text, false), ids) << text;
    EXPECT_EQ(tokenizer.encode(text, true), golden["ids_with_special"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.decode(ids, false), golden["decoded_keep_special"].get<std::string>()) << text;
    EXPECT_EQ(tokenizer.decode(ids, true), golden["decoded_skip_special"].get<std::string>()) << text;
  }
}

TEST(Tokenizer, GivesTheGoldensOfRealTokenizers) {
  const fs::path folder = tests::shared_data() / "tokenizers";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  int tokenizers = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!fs::exists(entry.path() / "goldens.json")) continue;
    SCOPED_TRACE(entry.path().string());
    expect_goldens(Tokenizer(read_text(entry.path() / "tokenizer.json"), entry.path().string()),
                   tests::read_json(entry.path() / "goldens.json"));
    ++tokenizers;
  }
  EXPECT_GE(tokenizers, 5);
}

TEST(Tokenizer, GivesTheGoldensOfTheTinyModels) {
  const fs::path folder = tests::shared_data() / "tiny";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  int models = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!fs::exists(entry.path() / "goldens.json")) continue;
    SCOPED_TRACE(entry.path().string());
    const Tokenizer tokenizer(read_text(entry.path() / "tokenizer.json"), entry.path().string());
    const nlohmann::json goldens = tests::read_json(entry.path() / "goldens.json");
    ASSERT_FALSE(goldens["tokenizer"].empty());
    for (const nlohmann::json& golden : goldens["tokenizer"]) {
      const auto text = golden["text"].get<std::string>();
      EXPECT_EQ(tokenizer.encode(text, true), golden["ids"].get<Ids>()) << text;
      EXPECT_EQ(tokenizer.encode(text, false), golden["ids_no_special"].get<Ids>()) << text;
      EXPECT_EQ(tokenizer.decode(golden["ids_no_special"].get<Ids>(), false), golden["decoded"].get<std::string>());
    }
    ++models;
  }
  EXPECT_GE(models, 17);
}

TEST(Tokenizer, MadeFromGgufMetadataGivesTheGoldensOfTheOriginal) {
  const fs::path goldens = tests::shared_data() / "smollm2" / "tokenizer_goldens.json";
  const char* gguf = std::getenv("SALIENT_TEST_GGUF");
  if (!gguf || !fs::exists(goldens)) {
    GTEST_SKIP() << "SALIENT_TEST_GGUF does not name SmolLM2-135M-Instruct, or " << goldens << " is not here";
  }
  const checkpoint::Checkpoint checkpoint = checkpoint::open_checkpoint(gguf);
  expect_goldens(Tokenizer(checkpoint.tokenizer_json, gguf), tests::read_json(goldens));
}

}  // namespace
}  // namespace salient::text
