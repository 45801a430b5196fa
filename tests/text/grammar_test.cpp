#include "text/grammar.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::text {
namespace {

class GrammarTest : public testing::Test {
 protected:
  /// The characters that may come next, with . for the end.
  static std::string allowed(Grammar& grammar) {
    std::string characters;
    const std::span<const bool> ids = grammar.allowed();
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i]) characters += i == 256 ? '.' : i < 256 ? static_cast<char>(i) : '?';
    }
    return characters;
  }
  static void accept(Grammar& grammar, std::string_view text) {
    for (const char c : text) grammar.accept(c);
  }

  /// More ids than the tokenizer has, as in real models.
  const GrammarVocabulary vocabulary_{tests::byte_level_tokenizer(), 320, 256, "tiny"};
};

TEST_F(GrammarTest, ARegexIsFollowedToItsEnd) {
  Grammar grammar(vocabulary_, {"regex", "[ab]{2}c?"});
  EXPECT_EQ(allowed(grammar), "ab");
  accept(grammar, "ab");
  EXPECT_EQ(allowed(grammar), "c.");
  EXPECT_FALSE(grammar.complete());
  accept(grammar, "c");
  EXPECT_TRUE(grammar.complete());
  EXPECT_EQ(allowed(grammar), ".");
}

TEST_F(GrammarTest, AJsonSchemaIsFollowed) {
  Grammar grammar(vocabulary_, {"json_schema", R"({"enum": ["red", "green"]})"});
  accept(grammar, "\"");
  EXPECT_EQ(allowed(grammar), "gr");
  accept(grammar, "g");
  EXPECT_EQ(allowed(grammar), "r");
  accept(grammar, "reen\"");
  EXPECT_TRUE(grammar.complete());
}

TEST_F(GrammarTest, ALarkGrammarIsFollowed) {
  Grammar grammar(vocabulary_, {"lark", "start: \"x\" start | \"y\""});
  accept(grammar, "xx");
  EXPECT_EQ(allowed(grammar), "xy");
}

TEST_F(GrammarTest, GoesBackAndBeginsAnew) {
  Grammar grammar(vocabulary_, {"regex", "abc|abd|xyz"});
  accept(grammar, "abc");
  grammar.rewind(1);
  EXPECT_FALSE(grammar.complete());
  EXPECT_EQ(allowed(grammar), "cd");
  grammar.rewind(2);
  EXPECT_EQ(allowed(grammar), "ax");
  accept(grammar, "xyz");
  Grammar other = grammar.from_its_start();
  EXPECT_EQ(allowed(other), "ax");
  accept(other, "ab");
  grammar.restart();
  EXPECT_EQ(allowed(grammar), "ax");
  EXPECT_EQ(allowed(other), "cd");
}

TEST_F(GrammarTest, RefusesATokenThatMayNotCome) {
  Grammar grammar(vocabulary_, {"regex", "abc"});
  tests::expect_error(core::ErrorKind::kInvalidInput, {"token 120 may not come next"}, [&] { grammar.accept('x'); });
}

TEST_F(GrammarTest, SaysWhatCannotBeCompiled) {
  const auto compile = [&](const char* kind, const char* text) { Grammar grammar(vocabulary_, {kind, text}); };
  using core::ErrorKind;
  tests::expect_error(ErrorKind::kInvalidInput, {"the grammar (json_schema) cannot be compiled"},
                      [&] { compile("json_schema", "{\"type\":"); });
  tests::expect_error(ErrorKind::kInvalidInput, {"(json_schema) cannot be compiled", "foo"},
                      [&] { compile("json_schema", R"({"type": "foo"})"); });
  tests::expect_error(ErrorKind::kInvalidInput, {"(regex) cannot be compiled"}, [&] { compile("regex", "(a"); });
  tests::expect_error(ErrorKind::kInvalidInput, {"(lark) cannot be compiled"},
                      [&] { compile("lark", "start: nothing"); });
  tests::expect_error(ErrorKind::kInvalidInput, {"\"gbnf\", expected json_schema, regex or lark"},
                      [&] { compile("gbnf", "a"); });
}

TEST(GrammarVocabulary, RefusesATokenizerWhoseTokensAreNoBytes) {
  tests::expect_error(core::ErrorKind::kUnsupported, {"strange: grammars cannot be followed with this tokenizer"}, [] {
    GrammarVocabulary vocabulary(R"({"decoder": {"type": "WordPiece"}, "added_tokens": []})", 10, 2, "strange");
  });
}

}  // namespace
}  // namespace salient::text
