#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace salient::generate {

/// Ends a reply before the first of some strings, wherever its pieces are cut: text that may be the beginning of one is
/// held back until it is known.
class StopText {
 public:
  /// Throws invalid_input when one of the strings is empty.
  explicit StopText(std::vector<std::string> stops);

  /// Takes in the next piece; returns the text that is certain now.
  std::string push(std::string_view piece);
  /// What was held back when the reply ended without a stop.
  std::string finish();
  /// Whether a stop has come. Nothing after it is given out.
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace salient::generate
