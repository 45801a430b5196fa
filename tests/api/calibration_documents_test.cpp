#include "api/calibration_documents.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "tests/support/chat_model.h"
#include "tests/support/expect_error.h"

namespace salient::api {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;
using tests::expect_error;
using Sequences = std::vector<std::vector<int32_t>>;

std::vector<std::string> texts_of(const fs::path& path) {
  std::vector<std::string> texts;
  for (const Document& document : list_documents(path)) {
    texts.push_back(document.file ? std::string(document.bytes) : "all of " + document.path.filename().string());
  }
  return texts;
}

TEST(ListDocuments, OfAFolderAreItsFilesAndTheLinesOfItsJsonLines) {
  const tests::TemporaryFolder folder;
  fs::create_directories(folder.path() / "inner");
  tests::write_text(folder.path() / "b.txt", "second");
  tests::write_text(folder.path() / "a.md", "first");
  tests::write_text(folder.path() / "inner" / "c.jsonl", "{\"text\": \"x\"}\n\n{\"text\": \"y\"}");
  tests::write_text(folder.path() / "empty.txt", "");
  tests::write_text(folder.path() / "other.bin", "no text");
  EXPECT_EQ(texts_of(folder.path()),
            (std::vector<std::string>{"all of a.md", "all of b.txt", "{\"text\": \"x\"}", "{\"text\": \"y\"}"}));
  EXPECT_EQ(list_documents(folder.path()).back().line, 3);
  expect_error(ErrorKind::kInvalidInput, {"nothing", "no .txt, .md or .jsonl files"}, [&] {
    fs::create_directories(folder.path() / "nothing");
    list_documents(folder.path() / "nothing");
  });
}

TEST(ListDocuments, OfATextAreThePartsBetweenEndOfTextLines) {
  const tests::TemporaryFolder folder;
  const fs::path path = folder.path() / "corpus.txt";
  const auto parts_of = [&](const std::string& text) {
    tests::write_text(path, text);
    return texts_of(path);
  };
  using Parts = std::vector<std::string>;
  EXPECT_EQ(parts_of("one\ntwo\n<|endoftext|>\nthree\r\n<|endoftext|>\r\n\nfour"),
            (Parts{"one\ntwo\n", "three\r\n", "\nfour"}));
  EXPECT_EQ(parts_of("<|endoftext|>\n \n<|endoftext|>\none\n<|endoftext|>"), Parts{"one\n"});
  EXPECT_EQ(parts_of("one <|endoftext|> two\n"), Parts{"one <|endoftext|> two\n"}) << "not a line of its own";
  EXPECT_EQ(parts_of(" one\n\ntwo\n"), Parts{" one\n\ntwo\n"});
  expect_error(ErrorKind::kInvalidInput, {"corpus.txt", "white space"}, [&] { parts_of("\n<|endoftext|>\n "); });
}

class DocumentEncoderTest : public testing::Test {
 protected:
  void SetUp() override { tests::write_chat_model(folder_.path() / "model"); }

  /// The tokens of a .jsonl file of this one line after an empty one; ids are the bytes themselves.
  std::string encode_line(const std::string& line) {
    const fs::path path = folder_.path() / "lines.jsonl";
    tests::write_text(path, "\n" + line + "\n");
    const auto checkpoint = checkpoint::open_checkpoint(folder_.path() / "model");
    const auto ids = DocumentEncoder(checkpoint).encode(list_documents(path).at(0));
    return {ids.begin(), ids.end()};
  }

  tests::TemporaryFolder folder_;
};

TEST_F(DocumentEncoderTest, ReadsTextsAndConversations) {
  EXPECT_EQ(encode_line(R"({"meta": 1, "text": "so \u00e4 it is"})"), "so ä it is");
  const std::string chat = "system: be brief\nuser: hi\nassistant: hello\n";
  EXPECT_EQ(encode_line(R"({"messages": [{"role": "system", "content": "be brief"}, )"
                        R"({"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]})"),
            chat);
  EXPECT_EQ(encode_line(R"({"conversations": [{"from": "system", "value": "be brief"}, )"
                        R"({"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]})"),
            chat);
  EXPECT_EQ(encode_line(R"({"conversations": [{"role": "user", "content": "hi"}]})"), "user: hi\n");
  EXPECT_EQ(encode_line(R"({"messages": [{"role": "user", "content": "hi"}], "tools": [{"a": 1}, {"b": 2}]})"),
            "user: hi\n2 tools\n");
}

TEST_F(DocumentEncoderTest, PutsSpecialTokensAroundEachText) {
  std::ofstream(folder_.path() / "model" / "tokenizer.json") << tests::sentencepiece_tokenizer();
  tests::write_text(folder_.path() / "text.txt", "a\n<|endoftext|>\nb");
  const auto checkpoint = checkpoint::open_checkpoint(folder_.path() / "model");
  DocumentEncoder encoder(checkpoint);
  for (const Document& document : list_documents(folder_.path() / "text.txt")) {
    EXPECT_EQ(encoder.encode(document).front(), 1);
  }
}

TEST_F(DocumentEncoderTest, RefusesWhatItCannotReadAndSaysWhere) {
  const auto refuse = [&](ErrorKind kind, const std::string& line, const std::string& part) {
    expect_error(kind, {"lines.jsonl: line 2: ", part}, [&] { encode_line(line); });
  };
  refuse(ErrorKind::kInvalidInput, "{\"text\": \"cut", "no JSON object");
  refuse(ErrorKind::kInvalidInput, "[1]", "no JSON object");
  refuse(ErrorKind::kInvalidInput, R"({"text": 1, "messages": "none"})", "\"text\"");
  refuse(ErrorKind::kInvalidInput, R"({"messages": [1]})", "array of objects");
  refuse(ErrorKind::kUnsupported, R"({"conversations": [{"from": "tool", "value": "x"}]})", "\"tool\"");
  tests::write_text(folder_.path() / "model" / "tokenizer_config.json", "{}");
  refuse(ErrorKind::kUnsupported, R"({"messages": [{"role": "user", "content": "hi"}]})", "chat template");
  EXPECT_EQ(encode_line(R"({"text": "hi"})"), "hi");
  tests::write_text(folder_.path() / "bad.txt", "\xff\xfe");
  const auto checkpoint = checkpoint::open_checkpoint(folder_.path() / "model");
  expect_error(ErrorKind::kInvalidInput, {"bad.txt", "cannot be encoded"},
               [&] { DocumentEncoder(checkpoint).encode(list_documents(folder_.path() / "bad.txt").at(0)); });
}

/// Documents of these lengths whose tokens are all different.
struct NumberedDocuments {
  explicit NumberedDocuments(const std::vector<int32_t>& lengths) {
    int32_t next = 0;
    for (const int32_t length : lengths) {
      documents.emplace_back(length);
      std::iota(documents.back().begin(), documents.back().end(), next);
      next += length;
    }
  }
  Sequences choose(const DocumentBudget& budget) {
    asked = 0;
    return choose_documents(documents.size(), budget, [&](size_t i) {
      ++asked;
      return documents[i];
    });
  }

  Sequences documents;
  int asked = 0;
};

std::multiset<std::vector<int32_t>> as_set(const Sequences& sequences) {
  return {sequences.begin(), sequences.end()};
}

TEST(ChooseDocuments, ShortOnesStayWhole) {
  NumberedDocuments set({3, 64, 1, 20, 63});
  EXPECT_EQ(as_set(set.choose({.tokens = 1000, .sequence_tokens = 64})), as_set(set.documents));
}

TEST(ChooseDocuments, LongOnesAreCutIntoEqualPartsThatLoseNothing) {
  NumberedDocuments set({200, 65});
  const Sequences chosen = set.choose({.tokens = 1000, .sequence_tokens = 64});
  std::multiset<size_t> lengths;
  std::multiset<int32_t> tokens;
  for (const auto& part : chosen) {
    lengths.insert(part.size());
    tokens.insert(part.begin(), part.end());
    for (size_t i = 1; i < part.size(); ++i) EXPECT_EQ(part[i], part[0] + static_cast<int32_t>(i));
  }
  EXPECT_EQ(lengths, (std::multiset<size_t>{50, 50, 50, 50, 32, 33}));
  EXPECT_EQ(tokens.size(), 265u);
  EXPECT_EQ(std::set<int32_t>(tokens.begin(), tokens.end()).size(), 265u);
}

TEST(ChooseDocuments, ALongOneDoesNotCrowdOutTheOthers) {
  std::vector<int32_t> lengths(10, 10);
  lengths[4] = 1000;
  NumberedDocuments set(lengths);
  for (const uint64_t seed : {0, 1, 2}) {
    const Sequences chosen = set.choose({.tokens = 300, .sequence_tokens = 50, .seed = seed});
    EXPECT_EQ(std::count_if(chosen.begin(), chosen.end(), [](const auto& part) { return part.size() == 10; }), 9 + 1)
        << "nine short ones, and of the long one what was left";
    EXPECT_EQ(std::accumulate(chosen.begin(), chosen.end(), size_t{0}, [](size_t n, auto& p) { return n + p.size(); }),
              300u);
    EXPECT_EQ(std::count_if(chosen.begin(), chosen.begin() + 10, [](const auto& part) { return part.size() == 50; }),
              1);
  }
}

TEST(ChooseDocuments, NoMoreAreReadThanAreWanted) {
  NumberedDocuments set(std::vector<int32_t>(1000, 30));
  const Sequences chosen = set.choose({.tokens = 100, .sequence_tokens = 64});
  EXPECT_EQ(set.asked, 4);
  ASSERT_EQ(chosen.size(), 4u);
  const std::vector<int32_t>& last = chosen.back();
  EXPECT_EQ(last.size(), 10u);
  EXPECT_EQ(last[0] % 30, 0) << "the beginning of a document";
}

TEST(ChooseDocuments, TheChoiceDependsOnTheSeedAndOnNothingElse) {
  NumberedDocuments set(std::vector<int32_t>(100, 100));
  const auto choose = [&](uint64_t seed) { return set.choose({.tokens = 300, .sequence_tokens = 30, .seed = seed}); };
  EXPECT_EQ(choose(1), choose(1));
  EXPECT_NE(choose(1), choose(2));
  std::set<int32_t> firsts;
  for (const auto& part : choose(1)) firsts.insert(part[0] % 100);
  EXPECT_GT(firsts.size(), 1u) << "of long documents not always the beginning";
}

TEST(ChooseDocuments, EmptyOnesAreLeftOut) {
  NumberedDocuments set({0, 5, 0});
  EXPECT_EQ(set.choose({.tokens = 100, .sequence_tokens = 64}), Sequences{set.documents[1]});
}

}  // namespace
}  // namespace salient::api
