#include "serve/chat_routes.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "serve/answer_json.h"
#include "serve/chat_export.h"
#include "serve/chat_json.h"
#include "serve/failure.h"
#include "serve/field_reader.h"
#include "serve/query.h"
#include "serve/reply_follower.h"

namespace salient::serve {

namespace {

constexpr std::string_view kConversations = "/api/conversations";
constexpr std::string_view kImport = "/api/import";
constexpr int kCreated = 201;

HttpAnswer json_answer(const nlohmann::json& json, int status = 200) {
  return {status, "application/json", dump(json), {{"Cache-Control", "no-store"}}};
}

bool is_ours(const std::string& path) {
  return path == kConversations || path == kImport || path.starts_with(std::string(kConversations) + "/");
}

/// What the stars of a pattern stand for in a path; nothing when it does not fit.
std::optional<std::vector<std::string>> match(std::string_view pattern, std::string_view path) {
  std::vector<std::string> stars;
  for (;;) {
    const std::string_view wanted = pattern.substr(0, pattern.find('/'));
    const std::string_view found = path.substr(0, path.find('/'));
    if (wanted == "*" ? found.empty() : wanted != found) return std::nullopt;
    if (wanted == "*") stars.push_back(percent_decoded(found));
    const bool pattern_ends = wanted.size() == pattern.size();
    const bool path_ends = found.size() == path.size();
    if (pattern_ends != path_ends) return std::nullopt;
    if (pattern_ends) return stars;
    pattern.remove_prefix(wanted.size() + 1);
    path.remove_prefix(found.size() + 1);
  }
}

/// A field of the query that is a whole number.
int64_t query_number(const std::map<std::string, std::string>& query, const char* name, int64_t least, int64_t most,
                     int64_t otherwise) {
  const auto found = query.find(name);
  if (found == query.end()) return otherwise;
  const std::string& text = found->second;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most) {
    throw Refusal(
        400, fmt::format("{} is \"{}\", expected a whole number from {} to {}", name, text.substr(0, 60), least, most),
        name);
  }
  return number;
}

std::optional<int64_t> query_time(const std::map<std::string, std::string>& query, const char* name) {
  const auto found = query.find(name);
  if (found == query.end()) return std::nullopt;
  char* end = nullptr;
  const double seconds = std::strtod(found->second.c_str(), &end);
  constexpr double kLatest = 1e11;
  if (found->second.empty() || *end != '\0' || !(seconds >= 0 && seconds <= kLatest)) {
    throw Refusal(400, fmt::format("{} is \"{}\", expected seconds", name, found->second.substr(0, 60)), name);
  }
  return microseconds_of(seconds);
}

std::optional<nlohmann::json> read_settings(FieldReader& fields) {
  if (!fields.has("settings")) return std::nullopt;
  const nlohmann::json& settings = fields.get("settings");
  if (!settings.is_object()) fields.fail("settings", "an object");
  return settings;
}

/// A reply's request as the chat completion that it is.
CompletionRequest read_reply_request(const nlohmann::json& body, const std::vector<ChatMessage>& path,
                                     const RequestDefaults& defaults) {
  nlohmann::json chat = body;
  for (const char* name : {"messages", "n", "stream", "stream_options", "return_progress", "logprobs", "top_logprobs",
                           "tools", "tool_choice"}) {
    if (body.contains(name)) {
      throw Refusal(400, fmt::format("the field {} is not known here", name), name, "unknown_parameter");
    }
  }
  chat.erase("parent");
  chat["messages"] = nlohmann::json::array();
  FieldReader fields(body);
  if (const std::string system = fields.text("system"); !system.empty()) {
    chat["messages"].push_back({{"role", "system"}, {"content", system}});
  }
  chat.erase("system");
  for (const ChatMessage& message : path) {
    chat["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  chat["stream"] = true;
  chat["return_progress"] = true;
  return read_chat_request(chat, defaults);
}

bool is_markdown(const HttpRequest& request) {
  const std::string_view type = request.header("content-type");
  if (type.starts_with("text/markdown")) return true;
  if (type.empty() || type.starts_with("application/json")) return false;
  throw Refusal(415, fmt::format("Content-Type is {}, expected application/json or text/markdown", type));
}

}  // namespace

const std::vector<ChatRoutes::Route>& ChatRoutes::table() {
  static const std::vector<Route> routes = {
      {"GET", "/api/conversations", &ChatRoutes::list},
      {"POST", "/api/conversations", &ChatRoutes::create},
      {"GET", "/api/conversations/*", &ChatRoutes::show},
      {"PATCH", "/api/conversations/*", &ChatRoutes::change},
      {"DELETE", "/api/conversations/*", &ChatRoutes::remove},
      {"POST", "/api/conversations/*/messages", &ChatRoutes::say},
      {"POST", "/api/conversations/*/replies", &ChatRoutes::reply},
      {"GET", "/api/conversations/*/replies/*", &ChatRoutes::follow},
      {"POST", "/api/conversations/*/replies/*/stop", &ChatRoutes::stop},
      {"GET", "/api/conversations/*/export", &ChatRoutes::export_one},
      {"POST", "/api/import", &ChatRoutes::import_one},
  };
  return routes;
}

std::optional<Answer> ChatRoutes::answer(const HttpRequest& request) {
  if (!is_ours(request.path)) return std::nullopt;
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  std::string allowed;
  for (const Route& route : table()) {
    const auto ids = match(route.path, request.path);
    if (!ids) continue;
    if (method == route.method) return (this->*route.handler)(request, *ids);
    allowed += (allowed.empty() ? "" : " or ") + std::string(route.method);
  }
  if (!allowed.empty()) throw Refusal(405, fmt::format("{} takes {}, not {}", request.path, allowed, request.method));
  return std::nullopt;
}

std::optional<Answer> answer_without_store(const HttpRequest& request) {
  if (!is_ours(request.path)) return std::nullopt;
  throw Refusal(404, "this server keeps no conversations: it was started with --store off", {}, "no_store");
}

Answer ChatRoutes::list(const HttpRequest& request, const Ids&) {
  constexpr int64_t kMostListed = 200;
  constexpr int64_t kListed = 50;
  auto query = parse_query(request.query);
  ChatSearch search{query["query"], query_number(query, "limit", 1, kMostListed, kListed), query_time(query, "before")};
  nlohmann::json conversations = nlohmann::json::array();
  for (const FoundConversation& found : store_.find(search)) {
    conversations.push_back(to_json(found.conversation));
    if (!search.query.empty()) conversations.back()["matches"] = found.excerpt;
  }
  return json_answer({{"conversations", std::move(conversations)}});
}

Answer ChatRoutes::create(const HttpRequest& request, const Ids&) {
  const nlohmann::json body = parse_body(request.body);
  FieldReader fields(body);
  const std::string title = fields.text("title");
  const nlohmann::json settings = read_settings(fields).value_or(nlohmann::json::object());
  fields.finish();
  return json_answer(to_json(store_.create(title, settings)), kCreated);
}

/// With what replies have become since they were stored last.
std::vector<ChatMessage> ChatRoutes::messages(const std::string& conversation) {
  std::vector<ChatMessage> messages = store_.messages(conversation);
  for (ChatMessage& message : messages) {
    if (message.state != "writing") continue;
    const auto running = writer_.find(message.id);
    message = running ? running->message() : store_.message(conversation, message.id);
  }
  return messages;
}

Answer ChatRoutes::show(const HttpRequest&, const Ids& ids) {
  nlohmann::json json = to_json(store_.conversation(ids[0]));
  json["messages"] = nlohmann::json::array();
  for (const ChatMessage& message : messages(ids[0])) json["messages"].push_back(to_json(message));
  return json_answer(json);
}

Answer ChatRoutes::change(const HttpRequest& request, const Ids& ids) {
  const nlohmann::json body = parse_body(request.body);
  FieldReader fields(body);
  ConversationChanges changes;
  if (fields.has("title")) changes.title = fields.text("title");
  if (fields.has("head")) changes.head = fields.text("head");
  changes.settings = read_settings(fields);
  fields.finish();
  return json_answer(to_json(store_.change(ids[0], changes)));
}

Answer ChatRoutes::remove(const HttpRequest&, const Ids& ids) {
  for (const ChatMessage& message : store_.messages(ids[0])) {
    if (message.state == "writing") writer_.stop(message.id);
  }
  store_.remove(ids[0]);
  return HttpAnswer{204, "application/json", {}, {}};
}

Answer ChatRoutes::say(const HttpRequest& request, const Ids& ids) {
  const nlohmann::json body = parse_body(request.body);
  FieldReader fields(body);
  ChatMessage message;
  message.role = "user";
  if (fields.has("parent")) message.parent = fields.text("parent");
  fields.require("content");
  message.content = fields.text("content");
  fields.finish();
  return json_answer(to_json(store_.add(ids[0], std::move(message))), kCreated);
}

Answer ChatRoutes::reply(const HttpRequest& request, const Ids& ids) {
  const nlohmann::json body = parse_body(request.body);
  FieldReader fields(body);
  fields.require("parent");
  ChatMessage message;
  message.parent = fields.text("parent");
  message.role = "assistant";
  message.state = "writing";
  CompletionRequest asked = read_reply_request(body, store_.path(ids[0], *message.parent), defaults_);
  const size_t model = engine_.find(asked.model);
  message.model = engine_.models()[model].name;
  if (engine_.is_draining()) throw Refusal(503, "the server is shutting down", {}, "shutting_down");
  message = store_.add(ids[0], std::move(message));
  writer_.start(message, model, std::move(asked), request.client + "/");
  return json_answer(to_json(message), kCreated);
}

Answer ChatRoutes::follow(const HttpRequest& request, const Ids& ids) {
  const auto query = parse_query(request.query);
  const auto content = static_cast<size_t>(query_number(query, "from", 0, INT64_MAX, 0));
  const auto reasoning = static_cast<size_t>(query_number(query, "reasoning_from", 0, INT64_MAX, 0));
  const ChatMessage stored = store_.message(ids[0], ids[1]);
  auto running = stored.state == "writing" ? writer_.find(stored.id) : nullptr;
  // It may have ended since it was looked up, and then it is stored.
  if (!running) running = std::make_shared<RunningReply>(store_.message(ids[0], ids[1]));
  return std::make_unique<ReplyFollower>(std::move(running), content, reasoning);
}

Answer ChatRoutes::stop(const HttpRequest&, const Ids& ids) {
  store_.message(ids[0], ids[1]);
  writer_.stop(ids[1]);
  return json_answer(to_json(store_.message(ids[0], ids[1])));
}

Answer ChatRoutes::export_one(const HttpRequest& request, const Ids& ids) {
  auto query = parse_query(request.query);
  const std::string format = query.contains("format") ? query["format"] : "json";
  const ChatDocument document{store_.conversation(ids[0]), messages(ids[0])};
  HttpAnswer answer;
  if (format == "json") {
    answer.body = to_json_file(document);
  } else if (format == "markdown") {
    answer.body = to_markdown(document);
    answer.content_type = "text/markdown; charset=utf-8";
  } else {
    throw Refusal(400, fmt::format("format is \"{}\", expected json or markdown", format.substr(0, 60)), "format");
  }
  const std::string name = file_name_of(document.conversation.title, format == "json" ? "json" : "md");
  answer.headers = {{"Content-Disposition", fmt::format("attachment; filename=\"{}\"", name)},
                    {"Cache-Control", "no-store"}};
  return answer;
}

Answer ChatRoutes::import_one(const HttpRequest& request, const Ids&) {
  const ChatDocument document = is_markdown(request) ? read_markdown(request.body) : read_json_file(request.body);
  return json_answer(to_json(store_.import(document.conversation, document.messages)), kCreated);
}

}  // namespace salient::serve
