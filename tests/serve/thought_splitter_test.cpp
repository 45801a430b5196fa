#include "serve/thought_splitter.h"

#include <gtest/gtest.h>

namespace salient::serve {
namespace {

/// The thought and the answer of a reply that arrives in pieces of so many bytes.
std::pair<std::string, std::string> split(const std::string& reply, size_t size, bool begins_inside = false) {
  ThoughtSplitter splitter(begins_inside);
  std::string thought;
  std::string answer;
  const auto take = [&](const ThoughtSplitter::Parts& parts) {
    thought += parts.thought;
    answer += parts.answer;
  };
  for (size_t i = 0; i < reply.size(); i += size) take(splitter.push(std::string_view(reply).substr(i, size)));
  take(splitter.finish());
  return {thought, answer};
}

TEST(ThoughtSplitter, SplitsTheThoughtOffWhereverPiecesEnd) {
  using Both = std::pair<std::string, std::string>;
  for (size_t size = 1; size < 40; ++size) {
    EXPECT_EQ(split("<think>\nOne,\n\ntwo.\n</think>\n\nThree. </think>", size),
              Both("One,\n\ntwo.", "Three. </think>"));
    EXPECT_EQ(split(" \n<think></think>x", size), Both("", "x"));
    EXPECT_EQ(split("<think>\n\n</think>\n\n", size), Both("", ""));
    EXPECT_EQ(split("  No <think>thought</think>", size), Both("", "  No <think>thought</think>"));
    EXPECT_EQ(split("<thin", size), Both("", "<thin"));
    EXPECT_EQ(split("a < b", size), Both("", "a < b"));
    EXPECT_EQ(split("still </thinking about it", size, true), Both("still </thinking about it", ""));
    EXPECT_EQ(split("\nwell\n</think>\nyes", size, true), Both("well", "yes"));
    EXPECT_EQ(split("<think>cut </thi", size), Both("cut </thi", ""));
  }
}

TEST(ThoughtSplitter, HoldsNothingBackWithoutNeed) {
  ThoughtSplitter splitter(false);
  EXPECT_EQ(splitter.push("Hello").answer, "Hello");
  EXPECT_EQ(splitter.push(" <think").answer, " <think");
  ThoughtSplitter thinking(true);
  EXPECT_EQ(thinking.push("Let me").thought, "Let me");
  EXPECT_EQ(thinking.push(" see </").thought, " see");
  EXPECT_EQ(thinking.push("b>").thought, " </b>");
}

}  // namespace
}  // namespace salient::serve
