#include "serve/chat_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string_view>

#include "serve/answer_json.h"
#include "serve/chat_json.h"
#include "serve/completion_request.h"
#include "serve/failure.h"
#include "serve/field_reader.h"

namespace salient::serve {

namespace {

constexpr const char* kFormat = "salient conversation";
constexpr int64_t kVersion = 1;
constexpr double kLatest = 1e11;  // seconds: some thousand years from now

std::optional<std::string> optional_text(FieldReader& fields, const char* name) {
  return fields.has(name) ? std::optional(fields.text(name)) : std::nullopt;
}

nlohmann::json object_or_null(FieldReader& fields, const char* name) {
  const nlohmann::json& value = fields.get(name);
  if (!value.is_null() && !value.is_object()) fields.fail(name, "an object");
  return value;
}

std::string one_of(FieldReader& fields, const char* name, const std::set<std::string>& words) {
  fields.require(name);
  std::string word = fields.text(name);
  if (!words.contains(word)) fields.fail(name, fmt::format("one of {}", fmt::join(words, ", ")));
  return word;
}

ChatConversation read_conversation(const nlohmann::json& json) {
  FieldReader fields(json, "conversation.");
  ChatConversation conversation;
  conversation.title = fields.text("title");
  conversation.created = microseconds_of(fields.number("created", 0, kLatest).value_or(0));
  conversation.head = optional_text(fields, "head");
  if (const auto settings = object_or_null(fields, "settings"); !settings.is_null()) conversation.settings = settings;
  fields.ignore({"id", "updated"});
  fields.finish();
  return conversation;
}

ChatMessage read_message(const nlohmann::json& json, const std::string& path) {
  FieldReader fields(json, path);
  ChatMessage message;
  fields.require("id");
  message.id = fields.text("id");
  message.parent = optional_text(fields, "parent");
  message.role = one_of(fields, "role", {"user", "assistant"});
  message.content = fields.text("content");
  message.reasoning = fields.text("reasoning");
  message.model = fields.text("model");
  message.state = one_of(fields, "state", {"complete", "writing", "stopped", "failed"});
  if (message.state == "writing") message.state = "stopped";  // nobody writes it here
  message.error = fields.text("error");
  message.created = microseconds_of(fields.number("created", 0, kLatest).value_or(0));
  message.timings = object_or_null(fields, "timings");
  message.finish_reason = optional_text(fields, "finish_reason");
  fields.finish();
  return message;
}

/// Throws unless users' messages and replies take turns from every root on.
void check_tree(const ChatDocument& document) {
  std::map<std::string, std::string> roles;
  for (const ChatMessage& message : document.messages) {
    if (message.parent && !roles.contains(*message.parent)) {
      throw Refusal(400, fmt::format("message \"{}\" comes before its parent \"{}\"", message.id, *message.parent));
    }
    const std::string before = message.parent ? roles[*message.parent] : "assistant";
    if (before == message.role) {
      throw Refusal(400, fmt::format("message \"{}\" has the role {} like its parent", message.id, message.role));
    }
    if (!roles.emplace(message.id, message.role).second) {
      throw Refusal(400, fmt::format("there are two messages \"{}\"", message.id));
    }
  }
  const auto& head = document.conversation.head;
  if (head && !roles.contains(*head)) throw Refusal(400, fmt::format("there is no message \"{}\", the head", *head));
}

/// The messages from the first to the head.
std::vector<ChatMessage> shown_messages(const ChatDocument& document) {
  std::vector<ChatMessage> shown;
  std::optional<std::string> next = document.conversation.head;
  for (auto message = document.messages.rbegin(); message != document.messages.rend(); ++message) {
    if (message->id != next) continue;
    shown.push_back(*message);
    next = message->parent;
  }
  std::reverse(shown.begin(), shown.end());
  return shown;
}

constexpr std::string_view kMark = "<!-- salient ";
constexpr std::string_view kMarkEnd = " -->";

/// A comment that holds JSON, which cannot end it.
std::string mark(const char* what, const nlohmann::json& json) {
  std::string text;
  for (const char c : dump(json)) text += c == '>' ? std::string("\\u003e") : std::string(1, c);
  return fmt::format("{}{} {}{}\n", kMark, what, text, kMarkEnd);
}

/// Whether a line is "<!-- salient " with any number of backslashes before "salient".
bool looks_like_mark(std::string_view line) {
  constexpr std::string_view kOpening = "<!-- ";
  if (!line.starts_with(kOpening)) return false;
  line.remove_prefix(kOpening.size());
  line.remove_prefix(std::min(line.size(), line.find_first_not_of('\\')));
  return line.starts_with(kMark.substr(kOpening.size()));
}

/// Each line of a text, with its end, as `change` has it.
template <typename Change>
std::string change_lines(std::string_view text, Change&& change) {
  std::string result;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, std::min(text.size(), text.find('\n')) + 1);
    result += change(line);
    text.remove_prefix(line.size());
  }
  return result;
}

constexpr size_t kEscapeAt = 5;  // after "<!-- "

/// Lines of a content that look like our comments get a backslash more.
std::string escaped(const std::string& content) {
  return change_lines(content, [](std::string_view line) {
    std::string result(line);
    if (looks_like_mark(line)) result.insert(kEscapeAt, "\\");
    return result;
  });
}

std::string unescaped(std::string_view content) {
  return change_lines(content, [](std::string_view line) {
    std::string result(line);
    if (looks_like_mark(line) && !line.starts_with(kMark)) result.erase(kEscapeAt, 1);
    return result;
  });
}

/// The next comment of ours at the start of a line, from `from` on.
size_t find_mark(std::string_view text, size_t from) {
  if (from == 0 && text.starts_with(kMark)) return 0;
  const size_t found = text.find("\n" + std::string(kMark), from == 0 ? 0 : from - 1);
  return found == std::string_view::npos ? found : found + 1;
}

struct Mark {
  std::string what;
  nlohmann::json json;
  size_t end;  ///< behind its line
};

Mark read_mark(std::string_view text, size_t at) {
  const size_t line_end = std::min(text.size(), text.find('\n', at));
  std::string_view line = text.substr(at + kMark.size(), line_end - at - kMark.size());
  if (!line.ends_with(kMarkEnd)) throw Refusal(400, fmt::format("the comment at byte {} does not end", at));
  line.remove_suffix(kMarkEnd.size());
  const size_t space = std::min(line.size(), line.find(' '));
  return {std::string(line.substr(0, space)), parse_body(std::string(line.substr(space))),
          std::min(text.size(), line_end + 1)};
}

/// What is between a message's comment and the next: a heading, the content, and the empty lines around it.
std::string read_content(std::string_view text) {
  if (text.starts_with("## ")) text.remove_prefix(std::min(text.size(), text.find('\n') + 1));
  if (text.starts_with('\n')) text.remove_prefix(1);
  for (int i = 0; i < 2; ++i) {
    if (text.ends_with('\n')) text.remove_suffix(1);
  }
  return unescaped(text);
}

/// What a heading can hold.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return std::iscntrl(c); }, ' ');
  return text;
}

}  // namespace

std::string to_json_file(const ChatDocument& document) {
  nlohmann::json messages = nlohmann::json::array();
  for (const ChatMessage& message : document.messages) messages.push_back(to_json(message));
  const nlohmann::json json = {{"format", kFormat},
                               {"version", kVersion},
                               {"conversation", to_json(document.conversation)},
                               {"messages", std::move(messages)}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

ChatDocument read_json_file(const std::string& text) {
  const nlohmann::json json = parse_body(text);
  FieldReader fields(json);
  one_of(fields, "format", {kFormat});
  fields.require("version");
  fields.integer("version", kVersion, kVersion);
  ChatDocument document;
  document.conversation = read_conversation(fields.require("conversation"));
  const nlohmann::json& messages = fields.require("messages");
  if (!messages.is_array()) fields.fail("messages", "a list");
  for (size_t i = 0; i < messages.size(); ++i) {
    document.messages.push_back(read_message(messages[i], fmt::format("messages[{}].", i)));
  }
  fields.finish();
  check_tree(document);
  return document;
}

std::string to_markdown(const ChatDocument& document) {
  std::string text = mark("conversation", to_json(document.conversation));
  text += fmt::format("# {}\n\n", one_line(document.conversation.title));
  for (const ChatMessage& message : shown_messages(document)) {
    nlohmann::json json = to_json(message);
    json.erase("content");
    const std::string who = message.role == "user" ? "You" : message.model.empty() ? "Reply" : message.model;
    text += mark("message", json) + fmt::format("## {}\n\n{}\n\n", one_line(who), escaped(message.content));
  }
  return text;
}

ChatDocument read_markdown(const std::string& text) {
  ChatDocument document;
  bool has_conversation = false;
  for (size_t at = find_mark(text, 0); at != std::string::npos;) {
    const Mark found = read_mark(text, at);
    const size_t next = find_mark(text, found.end);
    if (found.what == "conversation" && !has_conversation) {
      document.conversation = read_conversation(found.json);
      has_conversation = true;
    } else if (found.what == "message") {
      const std::string path = fmt::format("message {}: ", document.messages.size() + 1);
      document.messages.push_back(read_message(found.json, path));
      const size_t end = std::min(text.size(), next);
      document.messages.back().content = read_content(std::string_view(text).substr(found.end, end - found.end));
    } else {
      throw Refusal(400, fmt::format("the comment at byte {} is about a {}", at, found.what));
    }
    at = next;
  }
  if (!has_conversation)
    throw Refusal(400, "this is no Markdown that an export has written: its first comment is missing");
  check_tree(document);
  return document;
}

std::string file_name_of(const std::string& title, const std::string& extension) {
  constexpr size_t kMost = 60;
  std::string name;
  for (const unsigned char c : title) {
    if (name.size() == kMost) break;
    if (std::isalnum(c)) {
      name += static_cast<char>(c);
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (name.ends_with('-')) name.pop_back();
  return (name.empty() ? "conversation" : name) + "." + extension;
}

}  // namespace salient::serve
