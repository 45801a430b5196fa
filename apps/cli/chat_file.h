#pragma once

#include <filesystem>
#include <salient/salient.hpp>
#include <vector>

namespace salient::cli {

/// A conversation in a file: {"model": "...", "messages": [{"role", "content"}, ...]}.
struct ChatFile {
  std::string model;  ///< who wrote the last reply
  std::vector<Message> messages;
};

/// Throws invalid_input for a file that is no conversation, not_found where there is none.
ChatFile read_chat_file(const std::filesystem::path& path);

/// Writes it whole or not at all. Throws invalid_input where there is a file already that is no conversation.
void write_chat_file(const std::filesystem::path& path, const ChatFile& chat);

}  // namespace salient::cli
