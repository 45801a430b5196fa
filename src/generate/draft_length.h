#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace salient::generate {

/// Decides how many guessed tokens go through the model together with the one that was chosen: a draft. Speed depends
/// on the decision, the text does not.
///
/// The rule: a(n) is the share of guesses from a match of n tokens that proved right of late, and a forward pass of
/// m tokens costs 1 + s (m - 1) times one of a single token, with s as measured. A draft of k tokens after a match of
/// n then gives 1 + a(n) + a(n) a(n+1) + ... (k products) tokens for 1 + s k. The k that gives most for its cost is
/// taken, and none where the gain is below 5 %. So a text whose guesses do not prove right is written without drafts.
/// a(n) goes on being counted there, because comparing a guess with what the model then chose costs nothing, and drafts
/// come back when the guesses would have paid. s is measured only by drafts: without them it slowly goes back to what
/// it is assumed to be at first, so that an outlier does not end them for good.
class DraftLength {
 public:
  static constexpr int64_t kLongestDraft = 32;

  DraftLength() { start_text(); }

  /// Forgets the guesses of the text before; what forward passes cost stays known.
  void start_text();
  /// Counts a guess from a match of `match_length` tokens that was right or wrong, whether it was in a draft or not.
  void count_guess(int64_t match_length, bool right);
  /// Takes in how long a forward pass of so many tokens of the text took.
  void count_forward(int64_t tokens, double seconds);

  /// Tokens to draft after a match of `match_length`, at most kLongestDraft.
  int64_t choose(int64_t match_length) const;

 private:
  /// s of the rule until drafts have been measured.
  static constexpr double kAssumedTokenCost = 0.25;

  struct Guesses {
    double right;
    double all;
  };
  static size_t row_of(int64_t match_length);

  std::array<Guesses, 10> guesses_;        ///< by match length
  double single_seconds_ = 0;              ///< a forward pass of one token; 0: not measured yet
  double token_cost_ = kAssumedTokenCost;  ///< s of the rule
};

}  // namespace salient::generate
