#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace salient::generate {

/// Guesses how a text goes on from where its end has stood before in it (Saxena, "Prompt Lookup Decoding", 2023): an
/// answer that quotes its prompt, or repeats itself. An index of all n-grams of kShortestMatch tokens finds the places,
/// so the cost of a token does not grow with the text.
class PromptLookup {
 public:
  static constexpr int64_t kShortestMatch = 3;
  /// A search compares no more tokens than this; a match that goes on still grows beyond it.
  static constexpr int64_t kLongestSearched = 16;

  /// Appends a token to the text.
  void push(int32_t token);

  /// How many of the last tokens stand, in the same order, in the place that the guess comes from; 0: no such place.
  /// The place is where the last guess came from when that one was right, else the one with the longest match, the
  /// latest of equals.
  int64_t match_length() const { return match_length_; }

  /// The `count` tokens that followed that place; empty when there is none. Past the end of the text it goes on with
  /// itself: after "a b a b a b" come "a b a b ...".
  std::vector<int32_t> guess(int64_t count) const;

 private:
  uint64_t last_gram() const;
  void search();

  std::vector<int32_t> tokens_;
  std::unordered_map<uint64_t, int32_t> latest_;  ///< n-gram: the position of its last token, the latest if several
  std::vector<int32_t> earlier_;                  ///< for each position the one before with the same n-gram; -1: none
  int64_t match_length_ = 0;
  int64_t match_end_ = 0;  ///< position after the match: the first token of the guess
};

}  // namespace salient::generate
