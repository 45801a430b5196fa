#include "generate/prompt_lookup.h"

#include <gtest/gtest.h>

#include <string_view>

#include "core/random.h"

namespace salient::generate {
namespace {

using Ids = std::vector<int32_t>;

PromptLookup lookup_in(std::string_view text) {
  PromptLookup lookup;
  for (const char c : text) lookup.push(c);
  return lookup;
}

std::string guess_of(const PromptLookup& lookup, int64_t count) {
  const Ids ids = lookup.guess(count);
  return {ids.begin(), ids.end()};
}

TEST(PromptLookup, GuessesWhatFollowedTheSameTokens) {
  const PromptLookup lookup = lookup_in("the quick brown fox; a quick");
  EXPECT_EQ(lookup.match_length(), 6) << "a space and the word";
  EXPECT_EQ(guess_of(lookup, 10), " brown fox");
  EXPECT_EQ(guess_of(lookup, 0), "");
}

TEST(PromptLookup, GuessesNothingWithoutAMatchOfThreeTokens) {
  for (const char* text : {"", "a", "ab", "abc", "abxab", "the quick brown fox"}) {
    const PromptLookup lookup = lookup_in(text);
    EXPECT_EQ(lookup.match_length(), 0) << text;
    EXPECT_EQ(guess_of(lookup, 5), "") << text;
  }
  EXPECT_EQ(lookup_in("abcxabc").match_length(), 3);
}

TEST(PromptLookup, TakesTheLongestMatchAndTheLatestOfEquals) {
  EXPECT_EQ(guess_of(lookup_in("xabc1 yabc2 zabc3 ?yabc"), 1), "2");
  EXPECT_EQ(guess_of(lookup_in("xabc1 yabc2 zabc3 ?abc"), 1), "3");
}

TEST(PromptLookup, GoesOnWithItselfPastTheEnd) {
  EXPECT_EQ(guess_of(lookup_in("say: abcabc"), 8), "abcabcab");
  EXPECT_EQ(guess_of(lookup_in("aaaa"), 6), "aaaaaa");
}

TEST(PromptLookup, StaysInAPlaceWhileItsGuessesAreRight) {
  PromptLookup lookup = lookup_in("abcdefghijklmnopqrstuvwxyz#bcdefgh!!abc");
  EXPECT_EQ(lookup.match_length(), 3);
  for (const char c : std::string_view("defghijklmnopqrstuvwxy")) lookup.push(c);
  EXPECT_EQ(lookup.match_length(), 25) << "longer than a search looks";
  EXPECT_EQ(guess_of(lookup, 4), "z#bc");
  lookup.push('?');
  EXPECT_EQ(lookup.match_length(), 0);
}

TEST(PromptLookup, TokensBeyondTheNumbersOfNGramsAreToldApart) {
  constexpr int32_t kBeyond = 1 << 21;
  PromptLookup lookup;
  for (const int32_t id : {0, 1, 5, 7, 9, 0, 0, kBeyond + 5}) lookup.push(id);
  EXPECT_EQ(lookup.match_length(), 0);
}

/// The definition, with all places compared. `length` and `end` are those before the last token.
void search_everywhere(const Ids& text, int64_t& length, int64_t& end) {
  const int64_t last = std::ssize(text) - 1;
  if (length > 0 && text[end] == text[last]) {
    ++length;
    ++end;
    return;
  }
  length = 0;
  for (int64_t place = last - 1; place >= 0; --place) {
    int64_t same = 0;
    while (same < 16 && same <= place && text[place - same] == text[last - same]) ++same;
    if (same < 3 || same <= length) continue;
    length = same;
    end = place + 1;
  }
}

TEST(PromptLookup, FindsWhatASearchOfAllPlacesFinds) {
  for (const uint64_t letters : {3, 4, 6}) {
    PromptLookup lookup;
    Ids text;
    int64_t length = 0;
    int64_t end = 0;
    for (uint64_t i = 0; i < 300; ++i) {
      // Now and then a run is copied from earlier, so that long matches occur too.
      const uint64_t random = core::random_bits(letters, 0, i);
      const bool copy = i > 60 && i % 50 < 25;
      text.push_back(copy ? text[i - 60] : static_cast<int32_t>(random % letters));
      lookup.push(text.back());
      search_everywhere(text, length, end);
      ASSERT_EQ(lookup.match_length(), length) << letters << " letters, token " << i;
      ASSERT_EQ(lookup.guess(1), length > 0 ? Ids{text[end]} : Ids{}) << letters << " letters, token " << i;
    }
  }
}

}  // namespace
}  // namespace salient::generate
