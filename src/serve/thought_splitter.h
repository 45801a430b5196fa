#pragma once

#include <string>
#include <string_view>

namespace salient::serve {

/// Splits a reply that arrives in pieces into the thought that it begins with, between <think> and </think>, and the
/// answer behind it. White space around the marks belongs to neither.
class ThoughtSplitter {
 public:
  struct Parts {
    std::string thought;
    std::string answer;
  };

  /// `begins_inside`: the prompt ends with <think> already.
  explicit ThoughtSplitter(bool begins_inside);

  Parts push(std::string_view piece);
  /// What was held back, when the reply ends.
  Parts finish();

 private:
  enum class Place { kBefore, kThought, kBehind, kAnswer };

  bool go_on(Parts& parts);
  bool begin();
  bool think(Parts& parts);
  void skip_space();

  Place place_;
  std::string held_;
  bool has_thought_ = false;
};

/// How many bytes at the end of a text may be the beginning of white space and `mark`.
size_t open_end(std::string_view text, std::string_view mark);

}  // namespace salient::serve
