#include "evaluate/recipe.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace salient::evaluate {
namespace {

/// The same recipe with other sizes, small enough to be worked out by hand.
Recipe resized(const char* name, int64_t window, int64_t stride) {
  Recipe recipe = find_recipe(name);
  recipe.window = window;
  recipe.stride = stride;
  return recipe;
}

void expect_windows(const Recipe& recipe, int64_t tokens, int64_t limit, const std::vector<Window>& expected) {
  const auto windows = make_windows(recipe, tokens, limit);
  ASSERT_EQ(windows.size(), expected.size());
  for (size_t i = 0; i < windows.size(); ++i) {
    EXPECT_EQ(windows[i].begin, expected[i].begin) << "window " << i;
    EXPECT_EQ(windows[i].end, expected[i].end) << "window " << i;
    EXPECT_EQ(windows[i].first_scored, expected[i].first_scored) << "window " << i;
  }
}

std::string message_of(const Recipe& recipe, int64_t tokens) {
  try {
    return std::to_string(make_windows(recipe, tokens, 0).size()) + " windows";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInvalidInput);
    return error.what();
  }
}

TEST(Recipe, PaperCutsWholeWindowsAndDropsTheTail) {
  expect_windows(resized("paper", 4, 4), 11, 0, {{0, 4, 1}, {4, 8, 5}});
  expect_windows(resized("paper", 4, 4), 12, 0, {{0, 4, 1}, {4, 8, 5}, {8, 12, 9}});
  EXPECT_EQ(make_windows(find_recipe("paper"), 341469, 0).size(), 166u);  // WikiText-2 in Llama-2's tokens
  EXPECT_EQ(make_windows(find_recipe("paper"), 341469, 0).back().predictions(), 2047);
}

TEST(Recipe, SlidingScoresEveryTokenOnceAndTheTailToo) {
  expect_windows(resized("sliding", 4, 2), 9, 0, {{0, 4, 1}, {2, 6, 4}, {4, 8, 6}, {6, 9, 8}});
  expect_windows(resized("sliding", 4, 2), 8, 0, {{0, 4, 1}, {2, 6, 4}, {4, 8, 6}});
  expect_windows(resized("sliding", 4, 2), 3, 0, {{0, 3, 1}});
  // As wide as the stride, the first token of a window has nothing before it and cannot be scored.
  expect_windows(resized("sliding", 4, 4), 9, 0, {{0, 4, 1}, {4, 8, 5}});
}

TEST(Recipe, LlamaCppScoresTheSecondHalf) {
  expect_windows(resized("llama.cpp", 8, 8), 20, 0, {{0, 8, 5}, {8, 16, 13}});
  const auto windows = make_windows(find_recipe("llama.cpp"), 1024, 0);
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[1].first_scored, 512 + 257);
  EXPECT_EQ(windows[1].predictions(), 255);
}

TEST(Recipe, ShortHasWindowsOf128) {
  expect_windows(find_recipe("short"), 300, 0, {{0, 128, 1}, {128, 256, 129}});
}

TEST(Recipe, LimitKeepsTheFirstWindows) {
  expect_windows(resized("paper", 4, 4), 100, 2, {{0, 4, 1}, {4, 8, 5}});
  expect_windows(resized("sliding", 4, 2), 100, 1, {{0, 4, 1}});
  expect_windows(resized("paper", 4, 4), 9, 7, {{0, 4, 1}, {4, 8, 5}});
}

TEST(Recipe, RefusesWhatMakesNoWindows) {
  EXPECT_EQ(message_of(find_recipe("paper"), 2047), "the text has 2047 tokens, too few for one window of 2048");
  EXPECT_EQ(message_of(resized("sliding", 4, 2), 1), "the text has 1 tokens, too few for one window of 4");
  EXPECT_EQ(message_of(resized("paper", 1, 1), 100), "window is 1, expected 2 or more tokens");
  EXPECT_EQ(message_of(resized("paper", 8, 0), 100), "stride is 0, expected 1 to the window's 8 tokens");
  EXPECT_EQ(message_of(resized("paper", 8, 9), 100), "stride is 9, expected 1 to the window's 8 tokens");
  EXPECT_EQ(message_of(resized("llama.cpp", INT64_MAX, INT64_MAX), 100),
            "the text has 100 tokens, too few for one window of 9223372036854775807");
}

TEST(Recipe, IsFoundByNameOrTheKnownOnesAreListed) {
  for (const char* name : {"paper", "sliding", "llama.cpp", "short"}) EXPECT_EQ(find_recipe(name).name, name);
  try {
    find_recipe("papper");
    ADD_FAILURE();
  } catch (const core::Error& error) {
    EXPECT_STREQ(error.what(), "recipe papper is unknown; expected one of paper, sliding, llama.cpp, short");
  }
}

TEST(Recipe, DescribesEverythingThatMakesTheFigure) {
  EXPECT_EQ(find_recipe("paper").describe(),
            "paper: rows joined by a blank line, window 2048, stride 2048, all predictions of a window, mean of window "
            "means, BOS once, at the start, where the tokenizer adds one");
  EXPECT_EQ(find_recipe("llama.cpp").describe(),
            "llama.cpp: the file's own text, window 512, stride 512, the second half of each window, mean over "
            "predictions, BOS replaces each window's first token where the model has one");
  EXPECT_EQ(resized("sliding", 64, 16).describe(),
            "sliding: rows joined by a blank line, window 64, stride 16, only tokens no window before had, mean over "
            "predictions, BOS once, at the start, where the tokenizer adds one");
}

}  // namespace
}  // namespace salient::evaluate
