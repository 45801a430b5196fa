#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "serve/thought_splitter.h"
#include "serve/tool_call_reader.h"

namespace salient::serve {

/// What a message of the assistant is made of.
struct ChatParts {
  std::string thought;
  std::string content;
  std::vector<ToolCallDelta> calls;  ///< in a whole message, one of each call

  bool empty() const { return thought.empty() && content.empty() && calls.empty(); }
  /// Takes in what the message has grown by.
  void add(const ChatParts& more);
};

/// Reads a message as the model writes it.
class ChatReader {
 public:
  /// `begins_inside`: the prompt ends in a thought. `style` is null where there are no tools.
  ChatReader(bool begins_inside, const ToolStyle* style, std::set<std::string> names);

  /// What the message has grown by.
  ChatParts push(std::string_view piece);
  /// What was held back, when the message ends.
  ChatParts finish();
  bool has_calls() const { return calls_ && calls_->has_calls(); }

 private:
  ChatParts read(const ThoughtSplitter::Parts& parts, bool is_last);

  ThoughtSplitter thoughts_;
  std::optional<ToolCallReader> calls_;
};

/// The fields that a delta of a stream has.
nlohmann::json to_delta(const ChatParts& parts);

/// The field message of a whole answer.
nlohmann::json to_message(const ChatParts& parts);

}  // namespace salient::serve
