#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "checkpoint/gguf.h"
#include "tests/checkpoint/gguf_builder.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"
#include "text/tokenizer.h"

namespace salient::checkpoint {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;
using Ids = std::vector<int32_t>;
namespace fs = std::filesystem;

class GgufTokenizer : public testing::Test {
 protected:
  GgufFile parse(const GgufBuilder& builder) const {
    const fs::path path = folder_.path() / "model.gguf";
    builder.write(path);
    return parse_gguf(path);
  }
  text::Tokenizer tokenizer_of(const GgufBuilder& builder) const {
    return {make_tokenizer_json(parse(builder)), "model.gguf"};
  }
  void expect_refused(ErrorKind kind, const std::string& part, const GgufBuilder& builder) const {
    const GgufFile gguf = parse(builder);
    expect_error(kind, {"model.gguf", part}, [&] { make_tokenizer_json(gguf); });
  }

 private:
  tests::TemporaryFolder folder_;
};

GgufBuilder byte_level() {
  GgufBuilder builder;
  add_byte_level_vocabulary(builder);
  return builder;
}

/// Pieces with the scores -1, -2, ... from id 4 on, and one byte.
GgufBuilder sentencepiece() {
  GgufBuilder builder;
  builder.add("tokenizer.ggml.model", "llama")
      .add_array<std::string>("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "<0x0A>", "\u2581a", "ab", "\u2581ab",
                                                        "\u2581", "a", "b", "<call>"})
      .add_array<float>("tokenizer.ggml.scores", {0, 0, 0, 0, -1, -2, -3, -4, -5, -6, 0})
      .add_array<int32_t>("tokenizer.ggml.token_type", {2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 4})
      .add("tokenizer.ggml.bos_token_id", uint32_t{1})
      .add("tokenizer.ggml.eos_token_id", uint32_t{2})
      .add("tokenizer.ggml.unknown_token_id", uint32_t{0});
  return builder;
}

TEST_F(GgufTokenizer, OfAByteLevelVocabularyMergesByRank) {
  const text::Tokenizer tokenizer = tokenizer_of(byte_level());
  EXPECT_EQ(tokenizer.vocab_size(), 9);
  EXPECT_EQ(tokenizer.encode("abc a", true), (Ids{6, 8}));
  // "a b" comes before "Ġ a" in the merges.
  EXPECT_EQ(tokenizer.encode("a ab", true), (Ids{2, 7, 5}));
  EXPECT_EQ(tokenizer.decode(Ids{6, 8, 7, 5}, true), "abc a ab");
}

TEST_F(GgufTokenizer, FindsControlTokensInTheText) {
  const text::Tokenizer tokenizer = tokenizer_of(byte_level());
  EXPECT_EQ(tokenizer.encode("<s>ab</s>", false), (Ids{0, 5, 1}));
  EXPECT_EQ(tokenizer.decode(Ids{0, 5, 1}, true), "ab");
  EXPECT_EQ(tokenizer.decode(Ids{0, 5, 1}, false), "<s>ab</s>");
}

TEST_F(GgufTokenizer, OfAByteLevelVocabularyAddsBosOnlyWhereTheFileSaysSo) {
  GgufBuilder builder = byte_level();
  builder.add("tokenizer.ggml.bos_token_id", uint32_t{0}).add("tokenizer.ggml.eos_token_id", uint32_t{1});
  EXPECT_EQ(tokenizer_of(builder).encode("ab", true), (Ids{5}));
  builder.add("tokenizer.ggml.add_bos_token", true);
  EXPECT_EQ(tokenizer_of(builder).encode("ab", true), (Ids{0, 5}));
  EXPECT_EQ(tokenizer_of(builder).encode("ab", false), (Ids{5}));
  builder.add("tokenizer.ggml.add_eos_token", true);
  EXPECT_EQ(tokenizer_of(builder).encode("ab", true), (Ids{0, 5, 1}));
}

TEST_F(GgufTokenizer, CutsWordsAsTheFamilyDoes) {
  // Digits: smollm takes each alone, llama-bpe up to three together, qwen2 one.
  const auto words = [&](const char* pre) {
    GgufBuilder builder;
    builder.add("tokenizer.ggml.model", "gpt2").add("tokenizer.ggml.pre", pre);
    builder.add_array<std::string>("tokenizer.ggml.tokens", {"1", "11", "111", "1111"});
    builder.add_array<std::string>("tokenizer.ggml.merges", {"1 1", "11 11", "11 1"});
    return tokenizer_of(builder).encode("1111", false);
  };
  EXPECT_EQ(words("gpt-2"), (Ids{3}));
  EXPECT_EQ(words("smollm"), (Ids{0, 0, 0, 0}));
  EXPECT_EQ(words("llama-bpe"), (Ids{2, 0}));
  EXPECT_EQ(words("qwen2"), (Ids{0, 0, 0, 0}));
}

TEST_F(GgufTokenizer, OfASentencepieceVocabularyMergesByScore) {
  const text::Tokenizer tokenizer = tokenizer_of(sentencepiece());
  EXPECT_EQ(tokenizer.encode("ab", true), (Ids{1, 6}));
  EXPECT_EQ(tokenizer.encode("aab", false), (Ids{4, 5}));  // "▁a" has a better score than "ab"
  EXPECT_EQ(tokenizer.encode("b a", false), (Ids{7, 9, 4}));
  EXPECT_EQ(tokenizer.decode(Ids{1, 6, 4}, true), "ab a");
}

TEST_F(GgufTokenizer, OfASentencepieceVocabularyFallsBackToBytes) {
  const text::Tokenizer tokenizer = tokenizer_of(sentencepiece());
  EXPECT_EQ(tokenizer.encode("a\nb", false), (Ids{4, 3, 9}));
  EXPECT_EQ(tokenizer.decode(Ids{4, 3, 9}, true), "a\nb");
  EXPECT_EQ(tokenizer.encode("az", false), (Ids{4, 0}));  // there is no byte for it
}

TEST_F(GgufTokenizer, FindsUnknownAndUserDefinedTokensInTheText) {
  const text::Tokenizer tokenizer = tokenizer_of(sentencepiece());
  EXPECT_EQ(tokenizer.encode("<call>", false), (Ids{10}));
  EXPECT_EQ(tokenizer.encode("<unk>", false), (Ids{0}));
  // User-defined tokens are text, the others are not.
  EXPECT_EQ(tokenizer.decode(Ids{1, 10, 0}, true), "<call>");
}

TEST_F(GgufTokenizer, ObeysTheFlagsOfASentencepieceVocabulary) {
  EXPECT_EQ(tokenizer_of(sentencepiece().add("tokenizer.ggml.add_space_prefix", false)).encode("ab", true),
            (Ids{1, 5}));
  EXPECT_EQ(tokenizer_of(sentencepiece().add("tokenizer.ggml.add_bos_token", false)).encode("ab", true), (Ids{6}));
  EXPECT_EQ(tokenizer_of(sentencepiece().add("tokenizer.ggml.add_eos_token", true)).encode("ab", true), (Ids{1, 6, 2}));
}

TEST_F(GgufTokenizer, RebuildsMergesInTheOrderOfScoreAndThenOfTheParts) {
  const json tokenizer = json::parse(make_tokenizer_json(parse(sentencepiece())));
  // "▁ab" can be cut twice: its parts "▁a" and "b" come before "▁" and "ab" in the vocabulary.
  EXPECT_EQ(tokenizer["model"]["merges"], json::parse(R"([["\u2581","a"],["a","b"],["\u2581a","b"],["\u2581","ab"]])"));
}

/// The ways to cut each piece, in the order of the merges. A tokenizer.json writes a merge as "a b" or ["a", "b"].
std::map<std::string, std::vector<std::string>> cuts_by_piece(const json& tokenizer) {
  std::map<std::string, std::vector<std::string>> cuts;
  for (const json& merge : tokenizer["model"]["merges"]) {
    const std::string cut =
        merge.is_string() ? merge.get<std::string>() : merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    std::string piece = cut;
    piece.erase(piece.find(' '), 1);
    cuts[piece].push_back(cut);
  }
  return cuts;
}

TEST_F(GgufTokenizer, OfLlama2EqualsTheOneOfTransformers) {
  const fs::path folder = tests::shared_data() / "tokenizers";
  const fs::path vocabulary = folder / "llama.cpp-goldens" / "ggml-vocab-llama-spm.gguf";
  if (!fs::exists(vocabulary)) GTEST_SKIP() << vocabulary << " is not here";
  const std::string converted = make_tokenizer_json(parse_gguf(vocabulary));
  const json made = json::parse(converted);
  const json original = tests::read_json(folder / "llama2" / "tokenizer.json");
  EXPECT_TRUE(made["model"]["vocab"] == original["model"]["vocab"]);
  EXPECT_TRUE(cuts_by_piece(made) == cuts_by_piece(original));
  EXPECT_EQ(made["added_tokens"], original["added_tokens"]);
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    EXPECT_EQ(made[part], original[part]) << part;
  }
  const text::Tokenizer tokenizer(converted, vocabulary.string());
  const json goldens = tests::read_json(folder / "llama2" / "goldens.json");
  ASSERT_FALSE(goldens["cases"].empty());
  for (const json& one : goldens["cases"]) {
    const std::string text = one["text"];
    EXPECT_EQ(tokenizer.encode(text, false), one["ids"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.encode(text, true), one["ids_with_special"].get<Ids>()) << text;
    EXPECT_EQ(tokenizer.decode(one["ids"].get<Ids>(), true), one["decoded_skip_special"]) << text;
  }
}

TEST_F(GgufTokenizer, OfPhi3EqualsTheOneOfTransformers) {
  const fs::path folder = tests::shared_data() / "tokenizers";
  const fs::path vocabulary = folder / "llama.cpp-goldens" / "ggml-vocab-phi-3.gguf";
  if (!fs::exists(vocabulary)) GTEST_SKIP() << vocabulary << " is not here";
  const std::string converted = make_tokenizer_json(parse_gguf(vocabulary));
  const json original = tests::read_json(folder / "phi3-mini-rstrip" / "tokenizer.json");
  for (const json& token : original["added_tokens"]) {
    const json added = json::parse(converted)["added_tokens"];
    const auto made =
        std::find_if(added.begin(), added.end(), [&](const json& other) { return other["id"] == token["id"]; });
    ASSERT_NE(made, added.end()) << token;
    EXPECT_EQ((*made)["content"], token["content"]);
    EXPECT_EQ((*made)["rstrip"], token["rstrip"]) << token;
  }
  const text::Tokenizer tokenizer(converted, vocabulary.string());
  const json goldens = tests::read_json(folder / "phi3-mini-rstrip" / "goldens.json");
  ASSERT_FALSE(goldens["cases"].empty());
  for (const json& one : goldens["cases"]) {
    EXPECT_EQ(tokenizer.encode(one["text"].get<std::string>(), false), one["ids"].get<Ids>()) << one["text"];
  }
}

TEST_F(GgufTokenizer, OnlyPhi3sTokensSwallowWhiteSpace) {
  for (const auto& [architecture, rstrip] : {std::pair{"phi3", true}, std::pair{"llama", false}}) {
    GgufBuilder builder = sentencepiece();
    builder.add("general.architecture", architecture);
    const json added = json::parse(make_tokenizer_json(parse(builder)))["added_tokens"];
    EXPECT_EQ(added[1]["rstrip"], false);   // <s>
    EXPECT_EQ(added[2]["rstrip"], rstrip);  // </s>
  }
}

TEST_F(GgufTokenizer, OfQwen2ComposesCharacters) {
  const auto normalizer = [&](const char* pre) {
    return json::parse(make_tokenizer_json(parse(byte_level().add("tokenizer.ggml.pre", pre))))["normalizer"];
  };
  EXPECT_EQ(normalizer("qwen2"), (json{{"type", "NFC"}}));
  EXPECT_EQ(normalizer("llama-bpe"), json());
}

TEST_F(GgufTokenizer, IsDescribedForChat) {
  GgufBuilder builder = sentencepiece();
  builder.add("general.architecture", "llama");
  builder.add("tokenizer.chat_template", "{{ messages }}").add("llama.context_length", uint32_t{2048});
  const json config = make_tokenizer_config(parse(builder));
  EXPECT_EQ(config["bos_token"], "<s>");
  EXPECT_EQ(config["eos_token"], "</s>");
  EXPECT_EQ(config["unk_token"], "<unk>");
  EXPECT_FALSE(config.contains("pad_token"));
  EXPECT_EQ(config["chat_template"], "{{ messages }}");
  EXPECT_EQ(config["model_max_length"], 2048);
  EXPECT_EQ(config["add_bos_token"], true);
  EXPECT_EQ(config["add_eos_token"], false);
  EXPECT_EQ(config["added_tokens_decoder"]["1"]["content"], "<s>");
  EXPECT_EQ(config["added_tokens_decoder"]["1"]["special"], true);
  EXPECT_EQ(config["added_tokens_decoder"]["10"]["special"], false);
  EXPECT_FALSE(make_tokenizer_config(parse(byte_level())).contains("chat_template"));
}

TEST_F(GgufTokenizer, NamesWhatIsMissing) {
  expect_refused(ErrorKind::kInvalidInput, "tokenizer.ggml.model is missing", GgufBuilder());
  for (const char* model : {"gpt2", "llama"}) {
    expect_refused(ErrorKind::kInvalidInput, model == std::string("gpt2") ? "tokenizer.ggml.merges" : "ggml.tokens",
                   GgufBuilder().add("tokenizer.ggml.model", model));
  }
  const auto one_token = [](const char* model) {
    return GgufBuilder().add("tokenizer.ggml.model", model).add_array<std::string>("tokenizer.ggml.tokens", {"a"});
  };
  expect_refused(ErrorKind::kInvalidInput, "tokenizer.ggml.merges is missing", one_token("gpt2"));
  expect_refused(ErrorKind::kInvalidInput, "tokenizer.ggml.scores has 0 entries", one_token("llama"));
  expect_refused(ErrorKind::kInvalidInput, "tokenizer.ggml.scores has 2 entries, expected one for each of 1",
                 one_token("llama").add_array<float>("tokenizer.ggml.scores", {1, 2}));
  expect_refused(ErrorKind::kInvalidInput, "tokenizer.ggml.tokens is missing",
                 GgufBuilder().add("tokenizer.ggml.model", "gpt2").add_array<std::string>("tokenizer.ggml.merges", {}));
}

TEST_F(GgufTokenizer, RefusesWhatItDoesNotKnow) {
  expect_refused(ErrorKind::kUnsupported, "tokenizer.ggml.model is \"bert\"",
                 GgufBuilder().add("tokenizer.ggml.model", "bert"));
  expect_refused(ErrorKind::kUnsupported, "tokenizer.ggml.pre is \"falcon\"",
                 byte_level().add("tokenizer.ggml.pre", "falcon"));
}

TEST_F(GgufTokenizer, RefusesIdsOutsideTheVocabulary) {
  for (const int64_t id : {int64_t{-1}, int64_t{9}, int64_t{1} << 40}) {
    GgufBuilder builder = byte_level();
    builder.add("tokenizer.ggml.bos_token_id", id).add("tokenizer.ggml.add_bos_token", true);
    expect_refused(ErrorKind::kInvalidInput, "tokenizer.ggml.bos_token_id is " + std::to_string(id), builder);
    const GgufFile gguf = parse(builder);
    expect_error(ErrorKind::kInvalidInput, {"tokenizer.ggml.bos_token_id"}, [&] { make_tokenizer_config(gguf); });
  }
}

}  // namespace
}  // namespace salient::checkpoint
