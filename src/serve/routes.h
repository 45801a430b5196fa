#pragma once

#include "serve/access.h"
#include "serve/completion_request.h"
#include "serve/engine.h"
#include "serve/http.h"
#include "serve/model_exchange.h"

namespace salient::serve {

/// What is answered where.
class Routes {
 public:
  Routes(Engine& engine, AccessRules access, RequestDefaults defaults);

  /// Never throws for what a client did: a refusal is an answer.
  Answer answer(const HttpRequest& request);
  /// Asks others too, in turn, for paths that are not ours; they answer nothing when it is not theirs either.
  using MoreRoutes = std::function<std::optional<Answer>(const HttpRequest& request)>;
  void add(MoreRoutes routes) { more_.push_back(std::move(routes)); }
  const AccessRules& access() const { return access_; }

 private:
  using Handler = Answer (Routes::*)(const HttpRequest& request);
  struct Route {
    const char* method;
    const char* path;
    Handler handler;
  };
  static const std::vector<Route>& table();

  Answer dispatch(const HttpRequest& request);
  Answer chat_completions(const HttpRequest& request);
  Answer completions(const HttpRequest& request);
  Answer responses(const HttpRequest& request);
  Answer embeddings(const HttpRequest& request);
  Answer list_models(const HttpRequest& request);
  Answer one_model(const HttpRequest& request);
  Answer tokenize(const HttpRequest& request);
  Answer detokenize(const HttpRequest& request);
  Answer apply_template(const HttpRequest& request);
  Answer health(const HttpRequest& request);
  Answer metrics(const HttpRequest& request);
  nlohmann::json describe(size_t model) const;
  Answer with_model(const std::string& name, ModelExchange::Work work);

  Engine& engine_;
  AccessRules access_;
  RequestDefaults defaults_;
  std::vector<MoreRoutes> more_;
  int64_t started_;
};

}  // namespace salient::serve
