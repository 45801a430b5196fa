#include "evaluate/recipe.h"

#include <algorithm>
#include <array>

#include "core/error.h"

namespace salient::evaluate {

using core::ErrorKind;
using core::fail;

namespace {

const std::array<Recipe, 4>& recipes() {
  static const std::array<Recipe, 4> kRecipes = {{
      {.name = "paper"},
      {.name = "sliding", .window = 1024, .stride = 512, .scored = Scored::kNew, .average = Average::kPredictions},
      {.name = "llama.cpp",
       .join = Join::kAsIs,
       .window = 512,
       .stride = 512,
       .scored = Scored::kSecondHalf,
       .average = Average::kPredictions,
       .bos_replaces_first_token = true},
      {.name = "short", .window = 128, .stride = 128, .ptb_validation = true},
  }};
  return kRecipes;
}

}  // namespace

Recipe find_recipe(const std::string& name) {
  std::string known;
  for (const Recipe& recipe : recipes()) {
    if (recipe.name == name) return recipe;
    known += known.empty() ? recipe.name : ", " + recipe.name;
  }
  fail(ErrorKind::kInvalidInput, "recipe {} is unknown; expected one of {}", name, known);
}

std::string Recipe::describe() const {
  const char* rows = join == Join::kBlankLine ? "rows joined by a blank line" : "the file's own text";
  const char* counted = scored == Scored::kAll   ? "all predictions of a window"
                        : scored == Scored::kNew ? "only tokens no window before had"
                                                 : "the second half of each window";
  const char* mean = average == Average::kWindowMeans ? "mean of window means" : "mean over predictions";
  const char* bos = bos_replaces_first_token ? "BOS replaces each window's first token where the model has one"
                                             : "BOS once, at the start, where the tokenizer adds one";
  return fmt::format("{}: {}, window {}, stride {}, {}, {}, {}", name, rows, window, stride, counted, mean, bos);
}

std::vector<Window> make_windows(const Recipe& recipe, int64_t tokens, int64_t limit) {
  if (recipe.window < 2) fail(ErrorKind::kInvalidInput, "window is {}, expected 2 or more tokens", recipe.window);
  if (recipe.stride < 1 || recipe.stride > recipe.window) {
    fail(ErrorKind::kInvalidInput, "stride is {}, expected 1 to the window's {} tokens", recipe.stride, recipe.window);
  }
  std::vector<Window> windows;
  int64_t covered = 0;  // tokens that windows so far had
  for (int64_t begin = 0; limit == 0 || std::ssize(windows) < limit; begin += recipe.stride) {
    const bool new_only = recipe.scored == Scored::kNew;
    if (new_only ? covered >= tokens : begin + recipe.window > tokens) break;
    const int64_t end = std::min(begin + recipe.window, tokens);
    int64_t first = begin + 1;
    if (new_only) first = std::max(first, covered);
    if (recipe.scored == Scored::kSecondHalf) first = begin + recipe.window / 2 + 1;
    if (first < end) windows.push_back({begin, end, first});
    covered = end;
  }
  if (windows.empty()) {
    fail(ErrorKind::kInvalidInput, "the text has {} tokens, too few for one window of {}", tokens, recipe.window);
  }
  return windows;
}

}  // namespace salient::evaluate
