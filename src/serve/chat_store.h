#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "serve/sqlite.h"

namespace salient::serve {

/// Times are microseconds since 1970.
struct ChatConversation {
  std::string id;
  std::string title;
  int64_t created = 0;
  int64_t updated = 0;  ///< no two conversations have the same
  nlohmann::json settings = nlohmann::json::object();
  std::optional<std::string> head;  ///< the message that is shown last
};

/// A node of a conversation's tree. Children of one parent are what was said instead of each other.
struct ChatMessage {
  std::string id;
  std::optional<std::string> parent;
  std::string role;  ///< "user" or "assistant"
  std::string content;
  std::string reasoning;
  std::string model;               ///< empty for a user's
  std::string state = "complete";  ///< or "writing", "stopped", "failed"
  std::string error;               ///< of one that failed
  int64_t created = 0;
  nlohmann::json timings;  ///< llama-server's names, or null
  std::optional<std::string> finish_reason;
};

struct ChatSearch {
  std::string query;  ///< empty: all
  int64_t limit = 50;
  std::optional<int64_t> before;  ///< only those that were updated before this
};

/// What is there is changed.
struct ConversationChanges {
  std::optional<std::string> title;
  std::optional<nlohmann::json> settings;
  std::optional<std::string> head;
};

/// A conversation that was found, and the words around what was looked for.
struct FoundConversation {
  ChatConversation conversation;
  std::string excerpt;
};

/// Conversations in a SQLite file. When a function returns, what it did survives whatever happens to the process. May
/// be used from any thread. Throws Error: not_found for what is not there, invalid_input for what is not possible.
class ChatStore {
 public:
  /// Opens the file, or makes it. Messages that were being written when the process before ended have failed now.
  explicit ChatStore(const std::filesystem::path& file);

  ChatConversation create(const std::string& title, const nlohmann::json& settings);
  /// Adds a conversation with all its messages, parents before their children, under new ids.
  ChatConversation import(const ChatConversation& conversation, const std::vector<ChatMessage>& messages);
  ChatConversation conversation(const std::string& id);
  /// In the order in which they were added.
  std::vector<ChatMessage> messages(const std::string& conversation);
  ChatMessage message(const std::string& conversation, const std::string& id);
  /// From the first message of the tree to this one.
  std::vector<ChatMessage> path(const std::string& conversation, const std::string& id);
  /// The newest first.
  std::vector<FoundConversation> find(const ChatSearch& search);

  ChatConversation change(const std::string& id, const ConversationChanges& changes);
  void remove(const std::string& id);

  /// Adds a message, which becomes the head; its id and time are set here. A user's follows a finished reply or
  /// nothing, a reply follows a user's message.
  ChatMessage add(const std::string& conversation, ChatMessage message);
  /// Replaces what a reply that is being written has become: texts, state and what goes with it. Messages that are not
  /// there any more are left out.
  void update(const std::vector<ChatMessage>& messages);

 private:
  int64_t next_time();
  void touch(const std::string& conversation);
  ChatMessage message_of(const std::string& conversation, const std::string& id);
  ChatConversation conversation_of(const std::string& id);
  void insert(const std::string& conversation, const ChatMessage& message);
  void insert(const ChatConversation& conversation);

  std::mutex mutex_;
  Database database_;
  int64_t last_time_ = 0;
};

}  // namespace salient::serve
