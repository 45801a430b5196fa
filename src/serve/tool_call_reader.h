#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "serve/tool_call_scanner.h"
#include "serve/tool_style.h"

namespace salient::serve {

/// What a tool call has grown by. The first of a call has its id and name.
struct ToolCallDelta {
  size_t index = 0;  ///< of the call in its reply
  std::string id = {};
  std::string name = {};
  std::string arguments = {};
};

/// Splits a reply that arrives in pieces into text and tool calls, as a style writes them. What looks like a call and
/// turns out to be none is text.
class ToolCallReader {
 public:
  struct Parts {
    std::string text;
    std::vector<ToolCallDelta> calls;
  };

  /// `names` are those of the tools there are.
  ToolCallReader(const ToolStyle& style, std::set<std::string> names);

  Parts push(std::string_view piece);
  /// What was held back, when the reply ends.
  Parts finish();
  bool has_calls() const { return calls_ > 0; }

 private:
  enum class Place { kStart, kText, kBetweenCalls, kCall, kAfterCalls, kNoCalls };

  bool go_on(Parts& parts);
  bool start();
  bool read_text(Parts& parts);
  bool look_for_call(Parts& parts);
  bool read_call(Parts& parts);
  void report(Parts& parts);
  void give_up(Parts& parts);

  const ToolStyle& style_;
  std::set<std::string> names_;
  Place place_;
  std::string held_;
  std::string opened_;  ///< what stands before a call since the last that was one
  bool is_bare_ = false;
  std::optional<ToolCallScanner> scanner_;
  bool is_reported_ = false;  ///< the call being read
  size_t calls_ = 0;
};

}  // namespace salient::serve
