#pragma once

#include <string>
#include <vector>

#include "text/chat_template.h"

namespace salient::serve {

/// The prompt of a conversation whose reply may call tools (a JSON array of them, or an empty text). A template that
/// knows of none is told of them, of calls and of their results in words and in the manner of Hermes.
std::string render_chat(const text::ChatTemplate& chat_template, const std::vector<text::Message>& messages,
                        const std::string& tools, bool add_generation_prompt = true);

/// Whether a prompt has begun a thought that the reply goes on with.
bool begins_thought(const std::string& prompt);

}  // namespace salient::serve
