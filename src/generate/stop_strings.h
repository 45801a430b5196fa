#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace salient::generate {

/// Watches a text that arrives in pieces for strings at which it ends, and holds back what may be the beginning of one.
class StopStrings {
 public:
  /// Throws invalid_input when one is empty.
  explicit StopStrings(std::vector<std::string> strings);

  /// The text that is certain with this piece. Once a stop string is complete, what stands before it is, and nothing
  /// after: of several, the one that begins first counts.
  std::string push(std::string_view piece);
  /// What was held back, when the text ends without a stop string.
  std::string finish();
  /// Forgets what was held back: another text begins.
  void reset();

  bool matched() const { return matched_; }

 private:
  std::vector<std::string> strings_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace salient::generate
