#include "evaluate/text_source.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "tests/support/tiny_model.h"
#include "text/tokenizer.h"

namespace salient::evaluate {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

/// A one-dimensional array of 32-bit integers in NumPy's format: magic, version, a 16-bit header length, a header.
std::vector<int32_t> read_npy(const fs::path& path) {
  const std::string bytes = read_file(path);
  EXPECT_EQ(bytes.substr(1, 5), "NUMPY");
  EXPECT_NE(bytes.find("'<i4'"), std::string::npos);
  uint16_t header = 0;
  std::memcpy(&header, bytes.data() + 8, sizeof header);
  std::vector<int32_t> values((bytes.size() - 10 - header) / 4);
  std::memcpy(values.data(), bytes.data() + 10 + header, values.size() * 4);
  return values;
}

TEST(JoinWikitext, KeepsNewlinesOfRowsAndMakesBlankLinesEmptyRows) {
  // Rows " \n" -> "", " = Title = \n", "", " Text . \n", joined by a blank line.
  EXPECT_EQ(join_wikitext(" \n = Title = \n \n Text . \n"), "\n\n = Title = \n\n\n\n\n Text . \n");
  EXPECT_EQ(join_wikitext("one\ntwo\n"), "one\n\n\ntwo\n");
  EXPECT_EQ(join_wikitext("one\n\ntwo"), "one\n\n\n\n\ntwo") << "the last line has no newline to keep";
  EXPECT_EQ(join_wikitext("\n\n"), "\n\n");
  EXPECT_EQ(join_wikitext(""), "");
}

TEST(JoinPtb, StripsLines) {
  EXPECT_EQ(join_ptb(" no it was n't black monday \n but while \n"), "no it was n't black monday\n\nbut while");
  EXPECT_EQ(join_ptb("one\n\t two"), "one\n\ntwo");
  EXPECT_EQ(join_ptb(""), "");
}

class LoadTextTest : public testing::Test {
 protected:
  EvaluationText load(const std::string& name, const char* recipe) const {
    return load_text(name, folder_.path(), find_recipe(recipe), {}, {});
  }
  tests::TemporaryFolder folder_;
};

TEST_F(LoadTextTest, JoinsNamedTextsAsTheRecipeSays) {
  write_file(folder_.path() / "wiki.test.raw", " \n A \n");
  write_file(folder_.path() / "ptb.test.txt", " a \n b \n");
  write_file(folder_.path() / "ptb.valid.txt", " v \n w \n");
  EXPECT_EQ(load("wikitext2", "paper").text, "\n\n A \n");
  EXPECT_EQ(load("wikitext2", "paper").name, "wikitext2");
  EXPECT_EQ(load("wikitext2", "llama.cpp").text, " \n A \n");
  EXPECT_EQ(load("ptb", "paper").text, "a\n\nb");
  EXPECT_EQ(load("ptb", "llama.cpp").text, " a \n b \n");
  EXPECT_EQ(load("ptb", "short").text, "v\n\nw");
  EXPECT_EQ(load("ptb", "short").name, "ptb-validation");
}

TEST_F(LoadTextTest, TakesOtherFilesAsTheyAre) {
  const fs::path path = folder_.path() / "own.txt";
  write_file(path, " \n a \n");
  const EvaluationText text = load(path.string(), "paper");
  EXPECT_EQ(text.text, " \n a \n");
  EXPECT_EQ(text.name, "own.txt");
}

TEST_F(LoadTextTest, NamesTheFileThatIsMissingOrEmpty) {
  write_file(folder_.path() / "ptb.test.txt", "");
  const auto expect_error = [&](const std::string& name, core::ErrorKind kind, const char* file) {
    try {
      load(name, "paper");
      ADD_FAILURE() << name;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), kind);
      EXPECT_NE(std::string(error.what()).find((folder_.path() / file).string()), std::string::npos) << error.what();
    }
  };
  expect_error("wikitext2", core::ErrorKind::kNotFound, "wiki.test.raw");
  expect_error("ptb", core::ErrorKind::kInvalidInput, "ptb.test.txt");
  expect_error((folder_.path() / "none.txt").string(), core::ErrorKind::kNotFound, "none.txt");
}

TEST(LoadTextGolden, GivesTheTokensThatTransformersGives) {
  const fs::path data = tests::shared_data();
  if (!fs::exists(data / "text" / "wiki.test.raw")) GTEST_SKIP() << "no " << data;
  const text::Tokenizer tokenizer(read_file(data / "tokenizers" / "smollm2" / "tokenizer.json"), "smollm2");
  for (const auto& [name, golden] : {std::pair{"wikitext2", "wikitext2.ids.npy"}, std::pair{"ptb", "ptb_nn.ids.npy"}}) {
    const auto text = load_text(name, data / "text", find_recipe("paper"), {}, {});
    EXPECT_EQ(tokenizer.encode(text.text, true), read_npy(data / "smollm2" / golden)) << name;
  }
}

}  // namespace
}  // namespace salient::evaluate
