#pragma once

#include <string>
#include <vector>

#include "serve/chat_store.h"

namespace salient::serve {

/// A conversation as a file has it. Ids and parents are those of the file.
struct ChatDocument {
  ChatConversation conversation;
  std::vector<ChatMessage> messages;
};

/// All of a conversation, with every branch.
std::string to_json_file(const ChatDocument& document);
/// Throws a Refusal (400) for what is no such file.
ChatDocument read_json_file(const std::string& text);

/// What is shown of a conversation, which is the way to its head, for people to read. Comments between the messages say
/// what they are, so that it can be read back.
std::string to_markdown(const ChatDocument& document);
/// Throws a Refusal (400) for a text without the comments.
ChatDocument read_markdown(const std::string& text);

/// A title as the name of a file.
std::string file_name_of(const std::string& title, const std::string& extension);

}  // namespace salient::serve
