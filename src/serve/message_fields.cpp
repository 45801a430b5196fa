#include "serve/message_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/failure.h"
#include "serve/field_reader.h"
#include "serve/tools_request.h"

namespace salient::serve {

std::string read_content(const nlohmann::json& content, const std::string& where,
                         std::initializer_list<std::string_view> kinds) {
  if (content.is_null()) return {};
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) throw Refusal(400, where + " is not a text or a list of parts", where);
  std::string text;
  for (const nlohmann::json& part : content) {
    const auto is_text = [&](const char* field) {
      return part.is_object() && part.contains(field) && part[field].is_string();
    };
    if (!is_text("type") || std::count(kinds.begin(), kinds.end(), part["type"].get<std::string>()) == 0 ||
        !is_text("text")) {
      throw Refusal(400, where + " has a part that is not a text, and only texts are understood", where);
    }
    text += part["text"].get<std::string>();
  }
  return text;
}

std::vector<text::Message> read_messages(const nlohmann::json& messages) {
  if (!messages.is_array() || messages.empty()) {
    throw Refusal(400, "messages is not a list of at least one message", "messages");
  }
  std::vector<text::Message> result;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("messages[{}]", i);
    FieldReader fields(messages[i], where + ".");
    std::string role = fields.require("role").is_string() ? fields.text("role") : std::string();
    if (role == "developer") role = "system";
    if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
      fields.fail("role", "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\"");
    }
    std::string content = read_content(fields.get("content"), where + ".content", {"text"});
    fields.ignore({"name", "refusal", "annotations", "reasoning_content", "audio", "function_call"});
    std::vector<text::ToolCall> calls;
    if (fields.has("tool_calls")) calls = read_tool_calls(fields.get("tool_calls"), where);
    if (!calls.empty() && role != "assistant") fields.fail("tool_calls", "them only from the assistant");
    std::string call_id = fields.text("tool_call_id");
    fields.finish();
    result.push_back({std::move(role), std::move(content), std::move(calls), std::move(call_id)});
  }
  return result;
}

}  // namespace salient::serve
