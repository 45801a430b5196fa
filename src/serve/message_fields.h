#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/chat_template.h"

namespace salient::serve {

/// Reads "messages" of a chat. Throws a Refusal that names the field at fault.
std::vector<text::Message> read_messages(const nlohmann::json& messages);

/// The text of a content: a text, or a list of parts {"type", "text"} whose types are `kinds`; null is an empty one.
/// `where` is what refusals call it.
std::string read_content(const nlohmann::json& content, const std::string& where,
                         std::initializer_list<std::string_view> kinds);

}  // namespace salient::serve
