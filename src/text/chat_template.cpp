#include "text/chat_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "rust/rust_text.h"

namespace salient::text {

using nlohmann::ordered_json;

namespace {

/// The text of a field; empty when there is none.
std::string text_of(const nlohmann::json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// The template's source: a string, or the one of this name of a list.
std::string find_source(const nlohmann::json& config, const char* name) {
  if (!config.is_object() || !config.contains("chat_template")) return {};
  const nlohmann::json& value = config["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return {};
  for (const nlohmann::json& entry : value) {
    if (entry.is_object() && text_of(entry, "name") == name) return text_of(entry, "template");
  }
  return {};
}

/// Throws invalid_input, calling the text `what`, when it is no JSON array of objects.
ordered_json parse_array(const char* what, std::string_view text) {
  ordered_json array = ordered_json::parse(text, nullptr, false);
  const bool objects = array.is_array() && std::all_of(array.begin(), array.end(),
                                                       [](const ordered_json& item) { return item.is_object(); });
  if (!objects) core::fail(core::ErrorKind::kInvalidInput, "{}: expected a JSON array of objects", what);
  return array;
}

ordered_json to_json(const Message& message) {
  ordered_json json = {{"role", message.role}, {"content", message.content}};
  if (!message.tool_call_id.empty()) json["tool_call_id"] = message.tool_call_id;
  for (const ToolCall& call : message.tool_calls) {
    json["tool_calls"].push_back({{"id", call.id},
                                  {"type", "function"},
                                  {"function", {{"name", call.name}, {"arguments", arguments_of(call)}}}});
  }
  return json;
}

}  // namespace

ordered_json arguments_of(const ToolCall& call) {
  ordered_json arguments = ordered_json::parse(call.arguments, nullptr, false);
  return arguments.is_discarded() ? ordered_json(call.arguments) : arguments;
}

ChatTemplate::ChatTemplate(const nlohmann::json& tokenizer_config, const std::string& origin)
    : origin_(origin),
      source_(find_source(tokenizer_config, "default")),
      tool_source_(find_source(tokenizer_config, "tool_use")) {
  if (source_.empty()) {
    core::fail(core::ErrorKind::kUnsupported, "{}: has no chat template, so it is not a chat model", origin_);
  }
  if (tool_source_.empty()) tool_source_ = source_;
  check(source_);
  if (tool_source_ != source_) check(tool_source_);
  ordered_json variables = ordered_json::object();
  for (const auto& [name, value] : tokenizer_config.items()) {
    if (!name.ends_with("_token")) continue;
    if (value.is_string()) variables[name] = value.get<std::string>();
    if (value.is_object() && value.contains("content")) variables[name] = text_of(value, "content");
  }
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  variables_json_ = variables.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

void ChatTemplate::check(const std::string& source) const {
  salient_text error{};
  if (!salient_template_check(source.data(), source.size(), &error)) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: chat_template does not parse: {}", origin_, rust::take(error));
  }
}

std::string ChatTemplate::render(const std::vector<Message>& messages, bool add_generation_prompt,
                                 std::string_view tools) const {
  ordered_json context = ordered_json::parse(variables_json_);
  context["messages"] = ordered_json::array();
  for (const Message& message : messages) context["messages"].push_back(to_json(message));
  return render_context(std::move(context), tools, add_generation_prompt);
}

std::string ChatTemplate::render_json(std::string_view messages, std::string_view tools,
                                      bool add_generation_prompt) const {
  ordered_json context = ordered_json::parse(variables_json_);
  context["messages"] = parse_array("messages", messages);
  return render_context(std::move(context), tools, add_generation_prompt);
}

std::string ChatTemplate::render_context(ordered_json context, std::string_view tools,
                                         bool add_generation_prompt) const {
  if (!tools.empty()) context["tools"] = parse_array("tools", tools);
  context["add_generation_prompt"] = add_generation_prompt;
  const std::string json = context.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  const std::string& source = tools.empty() ? source_ : tool_source_;
  salient_text text{};
  salient_text error{};
  if (!salient_template_render(source.data(), source.size(), json.data(), json.size(), &text, &error)) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: the chat template refused the conversation: {}", origin_,
               rust::take(error));
  }
  return rust::take(text);
}

}  // namespace salient::text
