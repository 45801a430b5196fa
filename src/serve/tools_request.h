#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "serve/field_reader.h"
#include "serve/ordered_body.h"
#include "serve/tool_style.h"
#include "text/chat_template.h"

namespace salient::serve {

/// The tools that a chat may use.
struct ToolsRequest {
  std::vector<Tool> tools;         ///< empty where none may be called
  std::string json;                ///< as a chat gives them, for the chat template; empty where there are none
  bool must_call = false;          ///< the reply is calls and nothing else
  std::vector<Tool> must_call_of;  ///< of these
  int64_t most_calls = 16;         ///< where it must
};

/// How requests write tools and the choice of one: {"type", "function": {"name", ...}} in chats, {"type", "name", ...}
/// in responses.
enum class ToolForm { kNested, kFlat };

/// Reads "tools", "tool_choice" and "parallel_tool_calls". With the choice "none" it is as if there were no tools.
ToolsRequest read_tools(FieldReader& fields, OrderedBody& body, ToolForm form = ToolForm::kNested);

/// Reads "name" and "arguments" of a call that was made earlier.
text::ToolCall read_called_function(FieldReader& function);

/// Reads "tool_calls" of a message of the assistant; `where` is the message.
std::vector<text::ToolCall> read_tool_calls(const nlohmann::json& calls, const std::string& where);

}  // namespace salient::serve
