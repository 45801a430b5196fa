#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/chat_store.h"
#include "serve/completion_request.h"
#include "serve/engine.h"
#include "serve/http.h"
#include "serve/reply_writer.h"

namespace salient::serve {

/// The page's routes to its conversations: /api/conversations and /api/import.
class ChatRoutes {
 public:
  ChatRoutes(Engine& engine, ChatStore& store, ReplyWriter& writer, RequestDefaults defaults)
      : engine_(engine), store_(store), writer_(writer), defaults_(std::move(defaults)) {}

  /// Nothing for a path that is not ours. Throws a Refusal or an Error.
  std::optional<Answer> answer(const HttpRequest& request);

 private:
  /// What the stars of a route's path stand for: a conversation and a message.
  using Ids = std::vector<std::string>;
  using Handler = Answer (ChatRoutes::*)(const HttpRequest& request, const Ids& ids);
  struct Route {
    const char* method;
    const char* path;
    Handler handler;
  };
  static const std::vector<Route>& table();

  Answer list(const HttpRequest& request, const Ids& ids);
  Answer create(const HttpRequest& request, const Ids& ids);
  Answer show(const HttpRequest& request, const Ids& ids);
  Answer change(const HttpRequest& request, const Ids& ids);
  Answer remove(const HttpRequest& request, const Ids& ids);
  Answer say(const HttpRequest& request, const Ids& ids);
  Answer reply(const HttpRequest& request, const Ids& ids);
  Answer follow(const HttpRequest& request, const Ids& ids);
  Answer stop(const HttpRequest& request, const Ids& ids);
  Answer export_one(const HttpRequest& request, const Ids& ids);
  Answer import_one(const HttpRequest& request, const Ids& ids);
  std::vector<ChatMessage> messages(const std::string& conversation);

  Engine& engine_;
  ChatStore& store_;
  ReplyWriter& writer_;
  RequestDefaults defaults_;
};

/// The answer of these routes where there is no store; nothing for other paths.
std::optional<Answer> answer_without_store(const HttpRequest& request);

}  // namespace salient::serve
