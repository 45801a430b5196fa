#include "text/decode_stream.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::text {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using Pieces = std::vector<std::string>;

const std::string kReplacement = "\xef\xbf\xbd";

bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

/// What the stream gives for each token, and at the end.
Pieces pieces_of(const Tokenizer& tokenizer, const Ids& ids, bool skip_special_tokens = true) {
  DecodeStream stream(tokenizer, skip_special_tokens);
  Pieces pieces;
  for (const int32_t id : ids) pieces.push_back(stream.push(id));
  pieces.push_back(stream.finish());
  for (const std::string& piece : pieces) EXPECT_TRUE(is_utf8(piece)) << testing::PrintToString(pieces);
  return pieces;
}

std::string together(const Pieces& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

class DecodeStreamTest : public testing::Test {
 protected:
  static Ids bytes_of(std::string_view text, int32_t first_byte) {
    Ids ids;
    for (const char c : text) ids.push_back(first_byte + static_cast<unsigned char>(c));
    return ids;
  }
  Ids piece_bytes(std::string_view text) const { return bytes_of(text, 3); }

  const Tokenizer bytes_{tests::byte_level_tokenizer(), "bytes"};
  const Tokenizer pieces_{tests::sentencepiece_tokenizer(), "pieces"};
};

TEST_F(DecodeStreamTest, ACharacterComesWithItsLastByte) {
  for (const auto& [tokenizer, first] : {std::pair(&bytes_, 0), std::pair(&pieces_, 3)}) {
    EXPECT_EQ(pieces_of(*tokenizer, bytes_of("x😀你é", first)),
              (Pieces{"x", "", "", "", "😀", "", "", "你", "", "é", ""}));
  }
}

TEST_F(DecodeStreamTest, OnlyTheFirstWordLosesItsSpace) {
  EXPECT_EQ(pieces_of(pieces_, {286, 286, 261}), (Pieces{"a", " a", "b", ""}));
  EXPECT_EQ(pieces_of(pieces_, {259, 286, 259, 259, 261}), (Pieces{"", " a", " ", " ", "b", ""}));
  EXPECT_EQ(pieces_of(pieces_, {1, 286, 1, 286}), (Pieces{"", "a", "", " a", ""}));
}

TEST_F(DecodeStreamTest, SpecialTokensAreSkippedOrSpelledOut) {
  EXPECT_EQ(pieces_of(bytes_, {'a', 256, 'b'}, true), (Pieces{"a", "", "b", ""}));
  EXPECT_EQ(pieces_of(bytes_, {'a', 256, 'b'}, false), (Pieces{"a", "<|end|>", "b", ""}));
}

TEST_F(DecodeStreamTest, SomeSpecialTokensMayBeSpelledOutWhereOthersAreSkipped) {
  DecodeStream stream(pieces_, true, {2});
  Pieces pieces;
  for (const int32_t id : {286, 1, 0xF0 + 3, 2, 286, 2}) pieces.push_back(stream.push(id));
  EXPECT_EQ(pieces, (Pieces{"a", "", "", kReplacement + "</s>", "a", "</s>"}));
}

TEST_F(DecodeStreamTest, TokensWithoutTextDoNotDisturbACharacter) {
  const Ids ids = {0xE4, 256, 9999, 0xBD, 256, 0xA0, -1};
  EXPECT_EQ(pieces_of(bytes_, ids), (Pieces{"", "", "", "", "", "你", "", ""}));
}

TEST_F(DecodeStreamTest, AnUnfinishedCharacterEndsAsDecodeEndsIt) {
  EXPECT_EQ(pieces_of(bytes_, {'a', 0xE4, 0xBD}), (Pieces{"a", "", "", kReplacement}));
  EXPECT_EQ(pieces_of(pieces_, {260, 3 + 0xE4, 3 + 0xBD}), (Pieces{"a", "", "", kReplacement + kReplacement}));
}

TEST_F(DecodeStreamTest, ReplacementCharactersOfTheTextItselfAreKept) {
  EXPECT_EQ(together(pieces_of(pieces_, {287, 260, 287, 287})), kReplacement + "a" + kReplacement + kReplacement);
  const Ids before_emoji = {287, 287, 287, 287, 3 + 0xF0, 3 + 0x9F, 3 + 0x98, 3 + 0x80, 287, 260};
  EXPECT_EQ(together(pieces_of(pieces_, before_emoji)), pieces_.decode(before_emoji, true));
  const Ids spelled = bytes_of(kReplacement + "a" + kReplacement, 0);
  EXPECT_EQ(together(pieces_of(bytes_, spelled)), kReplacement + "a" + kReplacement);
}

TEST_F(DecodeStreamTest, AStreamMayBeUsedAgainAfterItsEnd) {
  DecodeStream stream(pieces_, true);
  EXPECT_EQ(stream.push(286), "a");
  EXPECT_EQ(stream.push(3 + 0xE4), "");
  EXPECT_EQ(stream.finish(), kReplacement);
  EXPECT_EQ(stream.push(286), "a");
  EXPECT_EQ(stream.finish(), "");
}

TEST_F(DecodeStreamTest, PiecesEqualTheWholeForAnyBytes) {
  std::mt19937 engine(1);
  const std::string alphabet = "a \xf0\x9f\x98\x80\xe4\xbd\xa0\xff";
  for (int round = 0; round < 200; ++round) {
    Ids ids;
    for (int i = 0; i < 120; ++i) ids.push_back(static_cast<unsigned char>(alphabet[engine() % alphabet.size()]));
    ASSERT_EQ(together(pieces_of(bytes_, ids)), bytes_.decode(ids, true)) << testing::PrintToString(ids);
  }
}

TEST_F(DecodeStreamTest, PiecesEqualTheWholeForAnyCharactersSpelledInBytes) {
  std::mt19937 engine(2);
  const std::vector<Ids> words = {{286}, {259}, {260}, {287}, {0}, {300}, piece_bytes("😀"), piece_bytes("你")};
  for (int round = 0; round < 200; ++round) {
    Ids ids;
    for (int i = 0; i < 60; ++i) {
      const Ids& word = words[engine() % words.size()];
      ids.insert(ids.end(), word.begin(), word.end());
    }
    ASSERT_EQ(together(pieces_of(pieces_, ids)), pieces_.decode(ids, true)) << testing::PrintToString(ids);
  }
}

TEST_F(DecodeStreamTest, PiecesEqualTheWholeWhenBadBytesFollowWords) {
  for (const std::string bad : {"\xff", "\xf0\x9f", "\xf0\x9f\x98\xff", "\x80\x80\x80\x80\x80\x80\x80\x80"}) {
    Ids ids = {286};
    for (const int32_t id : piece_bytes(bad)) ids.push_back(id);
    ids.push_back(286);
    EXPECT_EQ(together(pieces_of(pieces_, ids)), pieces_.decode(ids, true));
  }
}

TEST_F(DecodeStreamTest, ABadByteDoesNotTakeBackTheCharactersBeforeIt) {
  Ids ids = piece_bytes("😀\xff");
  ids.push_back(286);
  EXPECT_EQ(together(pieces_of(pieces_, ids)), "😀" + kReplacement + " a");
  EXPECT_EQ(pieces_.decode(ids, true), kReplacement + kReplacement + kReplacement + kReplacement + kReplacement + " a");
  std::mt19937 engine(3);
  for (int round = 0; round < 200; ++round) {
    Ids random;
    for (int i = 0; i < 60; ++i) random.push_back(static_cast<int32_t>(engine() % 300));
    pieces_of(pieces_, random);  // is UTF-8
  }
}

// With a cost that grows with the tokens before, these take hours.
TEST_F(DecodeStreamTest, ALongReplyWithoutTextOrWithBadBytesEnds) {
  constexpr size_t kTokens = 100000;
  EXPECT_EQ(together(pieces_of(bytes_, Ids(kTokens, 256))), "");
  for (const auto& [tokenizer, id] :
       {std::pair(&bytes_, 0xFF), std::pair(&pieces_, 3 + 0xFF), std::pair(&pieces_, 287)}) {
    const std::string text = together(pieces_of(*tokenizer, Ids(kTokens, id)));
    EXPECT_EQ(text.size(), kTokens * kReplacement.size());
  }
}

TEST_F(DecodeStreamTest, PiecesEqualTheWholeForTheGoldensOfRealTokenizers) {
  const fs::path folder = tests::shared_data() / "tokenizers";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!fs::exists(entry.path() / "goldens.json")) continue;
    std::ifstream file(entry.path() / "tokenizer.json", std::ios::binary);
    const Tokenizer tokenizer(std::string(std::istreambuf_iterator<char>(file), {}), entry.path().string());
    const nlohmann::json goldens = tests::read_json(entry.path() / "goldens.json");
    ASSERT_GE(goldens["cases"].size(), 75u);
    for (const nlohmann::json& golden : goldens["cases"]) {
      const auto ids = golden["ids"].get<Ids>();
      for (const bool skip : {false, true}) {
        const char* expected = skip ? "decoded_skip_special" : "decoded_keep_special";
        EXPECT_EQ(together(pieces_of(tokenizer, ids, skip)), golden[expected].get<std::string>()) << entry.path();
      }
    }
  }
}

}  // namespace
}  // namespace salient::text
