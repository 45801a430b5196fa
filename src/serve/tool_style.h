#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_template.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

namespace salient::serve {

/// How a family of models writes that it calls tools.
struct ToolStyle {
  const char* name;
  const char* in_template;               ///< what a chat template of this style has in it
  std::string_view open;                 ///< before a call; before all of them where `close` is empty
  std::string_view close;                ///< behind it; empty: calls go on to the end of the reply
  const char* arguments;                 ///< what the field of the arguments is called
  bool is_list;                          ///< whether all calls are one list
  bool may_begin_bare = false;           ///< a reply that begins with { may be a call without `open`
  std::string_view id_prefix = "call_";  ///< of a call's id, and how many random characters follow it
  size_t id_size = 24;
};

/// The style that a model's chat template has; that of Hermes where it knows of no tools.
const ToolStyle& tool_style_of(const text::ChatTemplate& chat_template);

/// A tool that a request offers.
struct Tool {
  std::string name;
  nlohmann::ordered_json parameters;  ///< a JSON schema of an object
};

/// The grammar of replies that call one of these tools, or several up to `most_calls`, and say nothing else.
text::GrammarText tool_call_grammar(const ToolStyle& style, const text::Tokenizer& tokenizer,
                                    const std::vector<Tool>& tools, int64_t most_calls);

/// The marks of a style that are special tokens, which a decoded text would not have.
std::vector<int32_t> special_marks(const ToolStyle& style, const text::Tokenizer& tokenizer);

}  // namespace salient::serve
