#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace salient::evaluate {

/// Which predictions of a window count.
enum class Scored { kAll, kNew, kSecondHalf };
/// What the perplexity is the exponential of.
enum class Average { kWindowMeans, kPredictions };
/// How a named data set's rows become one text. Other files are always scored as the text they hold.
enum class Join { kBlankLine, kAsIs };

/// A procedure for measuring perplexity. Figures of different recipes cannot be compared.
struct Recipe {
  std::string name;
  Join join = Join::kBlankLine;
  int64_t window = 2048;
  int64_t stride = 2048;
  Scored scored = Scored::kAll;
  Average average = Average::kWindowMeans;
  bool bos_replaces_first_token = false;
  bool ptb_validation = false;  ///< where others take the test set

  /// One line with everything that makes the figure what it is.
  std::string describe() const;
};

/// A recipe by name: paper (AWQ's and GPTQ's), sliding (the transformers documentation's), llama.cpp, or short
/// (LLM-Pruner's). Throws invalid_input with the known names.
Recipe find_recipe(const std::string& name);

/// Tokens [begin, end) of a text, of which the predictions of tokens [first_scored, end) count.
struct Window {
  int64_t begin;
  int64_t end;
  int64_t first_scored;
  int64_t predictions() const { return end - first_scored; }
};

/// The windows of a text of `tokens` tokens, at most `limit` of them (0: all). Throws invalid_input when the text is
/// too short for one, or window and stride make no sense.
std::vector<Window> make_windows(const Recipe& recipe, int64_t tokens, int64_t limit);

}  // namespace salient::evaluate
