#include "serve/chat_prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace salient::serve {

namespace {

using nlohmann::ordered_json;
using text::Message;

std::string describe_tools(const std::string& tools) {
  std::string text = "You can call functions. These are known, each as a JSON object:\n<tools>\n";
  for (const ordered_json& tool : ordered_json::parse(tools)) text += tool.dump() + "\n";
  return text +
         "</tools>\nTo call one, write a JSON object with its name and its arguments between these marks:\n"
         "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {}}\n</tool_call>";
}

std::string write_call(const text::ToolCall& call) {
  const ordered_json json = {{"name", call.name}, {"arguments", text::arguments_of(call)}};
  return fmt::format("<tool_call>\n{}\n</tool_call>", json.dump());
}

void add_paragraph(std::string& text, const std::string& paragraph) {
  text += (text.empty() ? "" : "\n") + paragraph;
}

/// The same conversation in messages that are nothing but text.
std::vector<Message> in_words(const std::vector<Message>& messages, const std::string& tools) {
  std::vector<Message> result;
  bool answers_call = false;
  for (const Message& message : messages) {
    Message plain{message.role, message.content};
    for (const text::ToolCall& call : message.tool_calls) add_paragraph(plain.content, write_call(call));
    if (message.role == "tool") {
      plain = {"user", fmt::format("<tool_response>\n{}\n</tool_response>", message.content)};
      if (answers_call) {
        add_paragraph(result.back().content, plain.content);
        continue;
      }
    }
    answers_call = message.role == "tool";
    result.push_back(std::move(plain));
  }
  if (tools.empty()) return result;
  if (result.front().role != "system") result.insert(result.begin(), Message{"system", ""});
  std::string& system = result.front().content;
  system += (system.empty() ? "" : "\n\n") + describe_tools(tools);
  return result;
}

}  // namespace

std::string render_chat(const text::ChatTemplate& chat_template, const std::vector<text::Message>& messages,
                        const std::string& tools, bool add_generation_prompt) {
  if (chat_template.mentions("tools")) return chat_template.render(messages, add_generation_prompt, tools);
  return chat_template.render(in_words(messages, tools), add_generation_prompt);
}

bool begins_thought(const std::string& prompt) {
  const size_t last = prompt.find_last_not_of(" \t\r\n");
  return last != std::string::npos && std::string_view(prompt).substr(0, last + 1).ends_with("<think>");
}

}  // namespace salient::serve
