#include "text/chat_template.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/rust_text.h"

namespace salient::text {

using nlohmann::ordered_json;

namespace {

/// The template's source: a string, or the one named "default" of a list.
std::string find_source(const nlohmann::json& config) {
  if (!config.is_object() || !config.contains("chat_template")) return {};
  const nlohmann::json& value = config["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return {};
  for (const nlohmann::json& entry : value) {
    if (entry.is_object() && entry.value("name", "") == "default") return entry.value("template", "");
  }
  return {};
}

}  // namespace

ChatTemplate::ChatTemplate(const nlohmann::json& tokenizer_config, const std::string& origin)
    : origin_(origin), source_(find_source(tokenizer_config)) {
  if (source_.empty()) {
    core::fail(core::ErrorKind::kUnsupported, "{}: has no chat template, so it is not a chat model", origin_);
  }
  ordered_json variables = ordered_json::object();
  for (const auto& [name, value] : tokenizer_config.items()) {
    if (!name.ends_with("_token")) continue;
    if (value.is_string()) variables[name] = value.get<std::string>();
    if (value.is_object() && value.contains("content")) variables[name] = value["content"].get<std::string>();
  }
  special_tokens_json_ = variables.dump();
}

std::string ChatTemplate::render(const std::vector<Message>& messages, bool add_generation_prompt) const {
  ordered_json context = ordered_json::parse(special_tokens_json_);
  context["messages"] = ordered_json::array();
  for (const Message& message : messages) {
    context["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  context["add_generation_prompt"] = add_generation_prompt;
  const std::string context_json = context.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  salient_text text{};
  salient_text error{};
  if (!salient_template_render(source_.data(), source_.size(), context_json.data(), context_json.size(), &text,
                               &error)) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: the chat template refused the conversation: {}", origin_,
               take(error));
  }
  return take(text);
}

}  // namespace salient::text
