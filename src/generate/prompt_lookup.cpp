#include "generate/prompt_lookup.h"

namespace salient::generate {

namespace {

/// Places that one search looks at, latest first: n-grams that are everywhere must not make it slow.
constexpr int kSearchedPlaces = 64;

}  // namespace

/// Different n-grams may have the same number in vocabularies of more than 2^21 tokens: a search compares the tokens.
uint64_t PromptLookup::last_gram() const {
  uint64_t gram = 0;
  for (auto token = tokens_.end() - kShortestMatch; token != tokens_.end(); ++token) {
    gram = gram << 21 ^ static_cast<uint64_t>(*token);
  }
  return gram;
}

void PromptLookup::push(int32_t token) {
  const bool goes_on = match_length_ > 0 && tokens_[match_end_] == token;
  tokens_.push_back(token);
  earlier_.push_back(-1);
  if (std::ssize(tokens_) < kShortestMatch) return;
  if (goes_on) {
    ++match_length_;
    ++match_end_;
  } else {
    search();
  }
  const auto position = static_cast<int32_t>(tokens_.size() - 1);
  const auto [place, is_new] = latest_.try_emplace(last_gram(), position);
  if (is_new) return;
  earlier_.back() = place->second;
  place->second = position;
}

/// Looks for the end of the text, which is not in the index yet.
void PromptLookup::search() {
  match_length_ = 0;
  const auto latest = latest_.find(last_gram());
  if (latest == latest_.end()) return;
  int64_t place = latest->second;
  for (int i = 0; i < kSearchedPlaces && place >= 0 && match_length_ < kLongestSearched; ++i) {
    const int64_t last = std::ssize(tokens_) - 1;
    int64_t length = 0;
    while (length < kLongestSearched && length <= place && tokens_[place - length] == tokens_[last - length]) ++length;
    if (length >= kShortestMatch && length > match_length_) {
      match_length_ = length;
      match_end_ = place + 1;
    }
    place = earlier_[place];
  }
}

std::vector<int32_t> PromptLookup::guess(int64_t count) const {
  std::vector<int32_t> guessed;
  if (match_length_ == 0) return guessed;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t position = match_end_ + i;
    const int64_t beyond = position - std::ssize(tokens_);
    guessed.push_back(beyond < 0 ? tokens_[position] : guessed[beyond]);
  }
  return guessed;
}

}  // namespace salient::generate
