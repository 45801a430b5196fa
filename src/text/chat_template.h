#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace salient::text {

/// A tool that the assistant called.
struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  ///< a JSON object, as text; or the beginning of one, where the reply was cut short
};

/// The arguments as templates get them (transformers has them so): the object, or the text of one that was cut short.
nlohmann::ordered_json arguments_of(const ToolCall& call);

/// One turn of a conversation; role is "system", "user", "assistant" or "tool", whose content is what a call gave.
struct Message {
  std::string role;
  std::string content;
  std::vector<ToolCall> tool_calls = {};
  std::string tool_call_id = {};
};

/// A model's chat template (Jinja), rendered as transformers' apply_chat_template does it: trim_blocks and
/// lstrip_blocks on, `raise_exception`, `strftime_now`, `tojson`, Python's string and dict methods, the special tokens
/// (bos_token, eos_token, ...) as variables, and `tools` and `documents` as None. A template is a stranger's program:
/// it runs with a fuel limit, and its failures are errors that quote its own message.
class ChatTemplate {
 public:
  /// From the fields of tokenizer_config.json: `chat_template` (a string, or a list of {name, template}, of which
  /// "default" is taken, and "tool_use" where there are tools) and the *_token entries (a string, or an object with
  /// "content").
  /// `origin` is what errors call the source. Throws unsupported when there is no template, invalid_input when it
  /// does not parse.
  ChatTemplate(const nlohmann::json& tokenizer_config, const std::string& origin);

  /// The prompt text. It already holds the special tokens it needs: encode it without adding any. `tools` is a JSON
  /// array, or an empty text, which is None.
  std::string render(const std::vector<Message>& messages, bool add_generation_prompt,
                     std::string_view tools = {}) const;
  /// The same from JSON: an array of messages with any fields, and an array of tools or an empty text, which is None.
  /// Throws invalid_input when a text is no such array.
  std::string render_json(std::string_view messages, std::string_view tools, bool add_generation_prompt) const;

  /// Whether the template of conversations with tools has this text in it.
  bool mentions(std::string_view text) const { return tool_source_.find(text) != std::string::npos; }

 private:
  void check(const std::string& source) const;
  std::string render_context(nlohmann::ordered_json context, std::string_view tools, bool add_generation_prompt) const;

  std::string origin_;
  std::string source_;
  std::string tool_source_;     ///< where there are tools; often the same
  std::string variables_json_;  ///< those that are the same in every conversation
};

}  // namespace salient::text
