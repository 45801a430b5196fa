#include "serve/chat_store.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "core/error.h"
#include "serve/answer_json.h"

namespace salient::serve {

namespace {

constexpr int64_t kSchemaVersion = 1;
constexpr int64_t kApplicationId = 0x53414c54;  // "SALT"

/// Texts are found by any three characters in a row. A reply is entered once it has been written.
constexpr const char* kSchema = R"(
CREATE TABLE conversations (
  id TEXT NOT NULL PRIMARY KEY, title TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL UNIQUE,
  settings TEXT NOT NULL, head TEXT);
CREATE TABLE messages (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
  conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
  parent TEXT, role TEXT NOT NULL, content TEXT NOT NULL, reasoning TEXT NOT NULL, model TEXT NOT NULL,
  state TEXT NOT NULL, error TEXT NOT NULL, created INTEGER NOT NULL, timings TEXT NOT NULL, finish_reason TEXT);
CREATE INDEX messages_of_conversations ON messages (conversation, sequence);
CREATE INDEX messages_in_work ON messages (state) WHERE state = 'writing';
CREATE VIRTUAL TABLE message_texts USING fts5(content, content = 'messages', content_rowid = 'sequence',
                                              tokenize = 'trigram');
CREATE TRIGGER message_added AFTER INSERT ON messages WHEN new.state <> 'writing' BEGIN
  INSERT INTO message_texts (rowid, content) VALUES (new.sequence, new.content);
END;
CREATE TRIGGER message_written AFTER UPDATE OF state ON messages WHEN old.state = 'writing' AND new.state <> 'writing'
BEGIN
  INSERT INTO message_texts (rowid, content) VALUES (new.sequence, new.content);
END;
CREATE TRIGGER message_removed AFTER DELETE ON messages WHEN old.state <> 'writing' BEGIN
  INSERT INTO message_texts (message_texts, rowid, content) VALUES ('delete', old.sequence, old.content);
END;
)";

int64_t number_of(Database& database, const char* sql) {
  Rows rows = database.query(sql);
  return rows.next() ? rows.integer(0) : 0;
}

void prepare_schema(Database& database) {
  Transaction transaction(database);
  const int64_t version = number_of(database, "PRAGMA user_version");
  const bool is_empty = number_of(database, "SELECT count(*) FROM sqlite_schema") == 0;
  if (is_empty && version == 0) {
    database.script(kSchema);
    database.script(("PRAGMA user_version = " + std::to_string(kSchemaVersion)).c_str());
    database.script(("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str());
  } else if (number_of(database, "PRAGMA application_id") != kApplicationId) {
    core::fail(core::ErrorKind::kInvalidInput, "{} is a database of another program, not one of chats",
               database.file().string());
  } else if (version != kSchemaVersion) {
    core::fail(core::ErrorKind::kUnsupported, "{} has version {} of the chats' schema, expected {}",
               database.file().string(), version, kSchemaVersion);
  }
  transaction.commit();
}

constexpr const char* kConversationById =
    "SELECT id, title, created, updated, settings, head FROM conversations WHERE id = ?";
constexpr const char* kMessagesOf =
    "SELECT id, parent, role, content, reasoning, model, state, error, created, timings, finish_reason FROM messages "
    "WHERE conversation = ? ORDER BY sequence";
constexpr const char* kMessageById =
    "SELECT id, parent, role, content, reasoning, model, state, error, created, timings, finish_reason FROM messages "
    "WHERE conversation = ? AND id = ?";
constexpr const char* kAllConversations =
    "SELECT id, title, created, updated, settings, head, '' FROM conversations WHERE updated < ? "
    "ORDER BY updated DESC LIMIT ?";
// Of each conversation with a matching title or text: the latest of the texts that match.
constexpr const char* kConversationsWithText =
    "WITH hits AS MATERIALIZED (SELECT m.conversation AS id, snippet(message_texts, 0, '', '', '…', 64) AS excerpt, "
    "m.sequence "
    "AS sequence FROM message_texts JOIN messages m ON m.sequence = message_texts.rowid WHERE message_texts MATCH ?), "
    "best AS (SELECT id, excerpt, max(sequence) FROM hits GROUP BY id) "
    "SELECT c.id, c.title, c.created, c.updated, c.settings, c.head, coalesce(best.excerpt, '') FROM conversations c "
    "LEFT JOIN best ON best.id = c.id WHERE (best.id IS NOT NULL OR c.title LIKE ? ESCAPE '\\') AND c.updated < ? "
    "ORDER BY c.updated DESC LIMIT ?";
// The same for what is shorter than the index can find.
constexpr const char* kConversationsWithShortText =
    "WITH best AS (SELECT conversation AS id, max(sequence), substr(content, max(1, instr(lower(content), lower(?)) - "
    "30), 64) AS excerpt FROM messages WHERE content LIKE ? ESCAPE '\\' GROUP BY conversation) "
    "SELECT c.id, c.title, c.created, c.updated, c.settings, c.head, coalesce(best.excerpt, '') FROM conversations c "
    "LEFT JOIN best ON best.id = c.id WHERE (best.id IS NOT NULL OR c.title LIKE ? ESCAPE '\\') AND c.updated < ? "
    "ORDER BY c.updated DESC LIMIT ?";

ChatConversation read_conversation(const Rows& rows) {
  ChatConversation conversation;
  conversation.id = rows.text(0);
  conversation.title = rows.text(1);
  conversation.created = rows.integer(2);
  conversation.updated = rows.integer(3);
  conversation.settings = nlohmann::json::parse(rows.text(4));
  conversation.head = rows.optional_text(5);
  return conversation;
}

ChatMessage read_message(const Rows& rows) {
  ChatMessage message;
  message.id = rows.text(0);
  message.parent = rows.optional_text(1);
  message.role = rows.text(2);
  message.content = rows.text(3);
  message.reasoning = rows.text(4);
  message.model = rows.text(5);
  message.state = rows.text(6);
  message.error = rows.text(7);
  message.created = rows.integer(8);
  message.timings = nlohmann::json::parse(rows.text(9));
  message.finish_reason = rows.optional_text(10);
  return message;
}

/// A pattern for LIKE that finds a text anywhere.
std::string like_pattern(const std::string& text) {
  std::string pattern = "%";
  for (const char c : text) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern + "%";
}

/// A query for MATCH that finds a text as it is.
std::string match_phrase(const std::string& text) {
  std::string phrase = "\"";
  for (const char c : text) {
    if (c == '"') phrase += '"';
    phrase += c;
  }
  return phrase + "\"";
}

int64_t characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

ChatStore::ChatStore(const std::filesystem::path& file) : database_(file) {
  prepare_schema(database_);
  database_.run("UPDATE messages SET state = 'failed', error = ? WHERE state = 'writing'",
                "the server ended while it was written");
  last_time_ = number_of(database_, "SELECT coalesce(max(updated), 0) FROM conversations");
}

/// Now, or as soon after the last as makes all times different.
int64_t ChatStore::next_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  last_time_ = std::max(int64_t{std::chrono::duration_cast<std::chrono::microseconds>(now).count()}, last_time_ + 1);
  return last_time_;
}

void ChatStore::touch(const std::string& conversation) {
  const int64_t changed = database_.run("UPDATE conversations SET updated = ? WHERE id = ?", next_time(), conversation);
  if (changed == 0) core::fail(core::ErrorKind::kNotFound, "there is no conversation \"{}\"", conversation);
}

void ChatStore::insert(const ChatConversation& conversation) {
  database_.run("INSERT INTO conversations (id, title, created, updated, settings, head) VALUES (?, ?, ?, ?, ?, ?)",
                conversation.id, conversation.title, conversation.created, conversation.updated,
                dump(conversation.settings), conversation.head);
}

void ChatStore::insert(const std::string& conversation, const ChatMessage& message) {
  database_.run(
      "INSERT INTO messages (id, conversation, parent, role, content, reasoning, model, state, error, created, "
      "timings, "
      "finish_reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      message.id, conversation, message.parent, message.role, message.content, message.reasoning, message.model,
      message.state, message.error, message.created, dump(message.timings), message.finish_reason);
}

ChatConversation ChatStore::create(const std::string& title, const nlohmann::json& settings) {
  const std::lock_guard lock(mutex_);
  ChatConversation conversation;
  conversation.id = random_id("");
  conversation.title = title;
  conversation.settings = settings;
  conversation.created = conversation.updated = next_time();
  insert(conversation);
  return conversation;
}

ChatConversation ChatStore::import(const ChatConversation& conversation, const std::vector<ChatMessage>& messages) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  ChatConversation ours = conversation;
  ours.id = random_id("");
  ours.updated = next_time();
  std::map<std::string, std::string> ids;
  const auto renamed = [&](const std::optional<std::string>& id) -> std::optional<std::string> {
    if (!id) return std::nullopt;
    const auto found = ids.find(*id);
    if (found == ids.end()) {
      core::fail(core::ErrorKind::kInvalidInput, "the conversation refers to a message \"{}\" that it does not have",
                 *id);
    }
    return found->second;
  };
  std::vector<ChatMessage> renamed_messages = messages;
  for (ChatMessage& message : renamed_messages) {
    message.parent = renamed(message.parent);
    const auto [place, is_new] = ids.emplace(std::exchange(message.id, random_id("")), std::string());
    if (!is_new) {
      core::fail(core::ErrorKind::kInvalidInput, "the conversation has two messages with the id \"{}\"", place->first);
    }
    place->second = message.id;
  }
  ours.head = renamed(ours.head);
  insert(ours);
  for (const ChatMessage& message : renamed_messages) insert(ours.id, message);
  transaction.commit();
  return ours;
}

ChatConversation ChatStore::conversation_of(const std::string& id) {
  Rows rows = database_.query(kConversationById, id);
  if (!rows.next()) core::fail(core::ErrorKind::kNotFound, "there is no conversation \"{}\"", id);
  return read_conversation(rows);
}

ChatMessage ChatStore::message_of(const std::string& conversation, const std::string& id) {
  Rows rows = database_.query(kMessageById, conversation, id);
  if (!rows.next()) {
    core::fail(core::ErrorKind::kNotFound, "there is no message \"{}\" in conversation \"{}\"", id, conversation);
  }
  return read_message(rows);
}

ChatConversation ChatStore::conversation(const std::string& id) {
  const std::lock_guard lock(mutex_);
  return conversation_of(id);
}

ChatMessage ChatStore::message(const std::string& conversation, const std::string& id) {
  const std::lock_guard lock(mutex_);
  return message_of(conversation, id);
}

std::vector<ChatMessage> ChatStore::messages(const std::string& conversation) {
  const std::lock_guard lock(mutex_);
  conversation_of(conversation);
  std::vector<ChatMessage> messages;
  for (Rows rows = database_.query(kMessagesOf, conversation); rows.next();) messages.push_back(read_message(rows));
  return messages;
}

std::vector<ChatMessage> ChatStore::path(const std::string& conversation, const std::string& id) {
  const std::lock_guard lock(mutex_);
  std::vector<ChatMessage> path;
  for (std::optional<std::string> next = id; next; next = path.back().parent) {
    path.push_back(message_of(conversation, *next));
  }
  std::reverse(path.begin(), path.end());
  return path;
}

std::vector<FoundConversation> ChatStore::find(const ChatSearch& search) {
  const std::lock_guard lock(mutex_);
  const int64_t before = search.before.value_or(INT64_MAX);
  const std::string pattern = like_pattern(search.query);
  constexpr int64_t kLeastIndexed = 3;
  const auto query = [&] {
    if (search.query.empty()) return database_.query(kAllConversations, before, search.limit);
    if (characters(search.query) < kLeastIndexed) {
      return database_.query(kConversationsWithShortText, search.query, pattern, pattern, before, search.limit);
    }
    return database_.query(kConversationsWithText, match_phrase(search.query), pattern, before, search.limit);
  };
  std::vector<FoundConversation> found;
  for (Rows rows = query(); rows.next();) found.push_back({read_conversation(rows), rows.text(6)});
  return found;
}

ChatConversation ChatStore::change(const std::string& id, const ConversationChanges& changes) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  touch(id);
  if (changes.title) database_.run("UPDATE conversations SET title = ? WHERE id = ?", *changes.title, id);
  if (changes.settings) {
    database_.run("UPDATE conversations SET settings = ? WHERE id = ?", dump(*changes.settings), id);
  }
  if (changes.head) {
    message_of(id, *changes.head);
    database_.run("UPDATE conversations SET head = ? WHERE id = ?", *changes.head, id);
  }
  ChatConversation changed = conversation_of(id);
  transaction.commit();
  return changed;
}

void ChatStore::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  if (database_.run("DELETE FROM conversations WHERE id = ?", id) == 0) {
    core::fail(core::ErrorKind::kNotFound, "there is no conversation \"{}\"", id);
  }
}

ChatMessage ChatStore::add(const std::string& conversation, ChatMessage message) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  touch(conversation);
  const bool is_reply = message.role == "assistant";
  if (message.parent) {
    const ChatMessage parent = message_of(conversation, *message.parent);
    if ((parent.role == "assistant") == is_reply) {
      core::fail(core::ErrorKind::kInvalidInput, "parent is a message of the role {}, expected one of {}", parent.role,
                 is_reply ? "user" : "assistant");
    }
    if (parent.state == "writing") {
      core::fail(core::ErrorKind::kInvalidInput, "parent is still being written: stop it first");
    }
  } else if (is_reply) {
    core::fail(core::ErrorKind::kInvalidInput, "parent is missing: a reply follows a user's message");
  }
  message.id = random_id("");
  message.created = last_time_;
  insert(conversation, message);
  database_.run("UPDATE conversations SET head = ? WHERE id = ?", message.id, conversation);
  transaction.commit();
  return message;
}

void ChatStore::update(const std::vector<ChatMessage>& messages) {
  const std::lock_guard lock(mutex_);
  Transaction transaction(database_);
  for (const ChatMessage& message : messages) {
    database_.run(
        "UPDATE messages SET content = ?, reasoning = ?, state = ?, error = ?, timings = ?, finish_reason = ? "
        "WHERE id = ?",
        message.content, message.reasoning, message.state, message.error, dump(message.timings), message.finish_reason,
        message.id);
  }
  transaction.commit();
}

}  // namespace salient::serve
