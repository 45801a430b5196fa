#include "serve/routes.h"

#include <fmt/format.h>

#include <utility>

#include "serve/answer_json.h"
#include "serve/chat_prompt.h"
#include "serve/completion_exchange.h"
#include "serve/embedding_exchange.h"
#include "serve/failure.h"
#include "serve/field_reader.h"
#include "serve/message_fields.h"
#include "serve/ordered_body.h"
#include "serve/response_exchange.h"

namespace salient::serve {

namespace {

constexpr std::string_view kModels = "/v1/models";

HttpAnswer json_answer(const nlohmann::json& json) {
  HttpAnswer answer;
  answer.body = dump(json);
  return answer;
}

/// Clients of one address are told apart by what they call their user.
std::string client_of(const HttpRequest& request, const std::string& user) {
  return request.client + "/" + user;
}

}  // namespace

Routes::Routes(Engine& engine, AccessRules access, RequestDefaults defaults)
    : engine_(engine), access_(std::move(access)), defaults_(std::move(defaults)), started_(unix_time()) {}

const std::vector<Routes::Route>& Routes::table() {
  static const std::vector<Route> routes = {
      {"POST", "/v1/chat/completions", &Routes::chat_completions},
      {"POST", "/v1/completions", &Routes::completions},
      {"POST", "/v1/responses", &Routes::responses},
      {"POST", "/v1/embeddings", &Routes::embeddings},
      {"GET", "/v1/models", &Routes::list_models},
      {"POST", "/tokenize", &Routes::tokenize},
      {"POST", "/detokenize", &Routes::detokenize},
      {"POST", "/apply-template", &Routes::apply_template},
      {"GET", "/health", &Routes::health},
      {"GET", "/metrics", &Routes::metrics},
  };
  return routes;
}

Answer Routes::answer(const HttpRequest& request) {
  try {
    check_access(access_, request);
    return dispatch(request);
  } catch (...) {
    return to_answer(refusal_of(std::current_exception()));
  }
}

Answer Routes::dispatch(const HttpRequest& request) {
  if (request.method == "OPTIONS") return HttpAnswer{204, "text/plain", {}, {}};
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  std::string allowed;
  for (const Route& route : table()) {
    if (request.path != route.path) continue;
    if (method == route.method) return (this->*route.handler)(request);
    allowed = route.method;
  }
  if (request.path.starts_with(std::string(kModels) + "/") && method == "GET") return one_model(request);
  for (const MoreRoutes& more : more_) {
    if (auto answer = more(request)) return std::move(*answer);
  }
  if (!allowed.empty()) throw Refusal(405, fmt::format("{} takes {}, not {}", request.path, allowed, request.method));
  throw Refusal(404, fmt::format("there is nothing at {}", request.path));
}

Answer Routes::chat_completions(const HttpRequest& request) {
  CompletionRequest asked = read_chat_request(parse_body(request.body), defaults_, request.body);
  const size_t model = engine_.find(asked.model);
  const std::string client = client_of(request, asked.user);
  return std::make_unique<CompletionExchange>(engine_, model, std::move(asked), client);
}

Answer Routes::completions(const HttpRequest& request) {
  CompletionRequest asked = read_text_request(parse_body(request.body), defaults_, request.body);
  const size_t model = engine_.find(asked.model);
  const std::string client = client_of(request, asked.user);
  return std::make_unique<CompletionExchange>(engine_, model, std::move(asked), client);
}

Answer Routes::responses(const HttpRequest& request) {
  ResponseRequest asked = read_response_request(parse_body(request.body), defaults_, request.body);
  const size_t model = engine_.find(asked.completion.model);
  const std::string client = client_of(request, asked.completion.user);
  return std::make_unique<ResponseExchange>(engine_, model, std::move(asked), client);
}

Answer Routes::embeddings(const HttpRequest& request) {
  EmbeddingRequest asked = read_embedding_request(parse_body(request.body));
  const size_t model = engine_.find(asked.model);
  const std::string client = client_of(request, asked.user);
  return std::make_unique<EmbeddingExchange>(engine_, model, std::move(asked), client);
}

nlohmann::json Routes::describe(size_t model) const {
  return {{"id", engine_.models()[model].name},
          {"object", "model"},
          {"created", started_},
          {"owned_by", "salient"},
          {"device", engine_.device(model)},
          {"loaded", engine_.is_loaded(model)}};
}

Answer Routes::list_models(const HttpRequest&) {
  nlohmann::json data = nlohmann::json::array();
  for (size_t i = 0; i < engine_.models().size(); ++i) data.push_back(describe(i));
  return json_answer({{"object", "list"}, {"data", std::move(data)}});
}

Answer Routes::one_model(const HttpRequest& request) {
  return json_answer(describe(engine_.find(request.path.substr(kModels.size() + 1))));
}

Answer Routes::with_model(const std::string& name, ModelExchange::Work work) {
  return std::make_unique<ModelExchange>(engine_, engine_.find(name), std::move(work));
}

Answer Routes::tokenize(const HttpRequest& request) {
  const nlohmann::json body = parse_body(request.body);
  FieldReader fields(body);
  fields.require("content");
  const std::string content = fields.text("content");
  const bool add_special = fields.flag("add_special");
  const bool with_pieces = fields.flag("with_pieces");
  const std::string model = fields.text("model");
  fields.finish();
  return with_model(model, [=](ServedModel& loaded) {
    nlohmann::json tokens = nlohmann::json::array();
    for (const int32_t id : loaded.tokenizer.encode(content, add_special)) {
      if (with_pieces) {
        tokens.push_back({{"id", id}, {"piece", token_text(loaded.tokenizer, id)}});
      } else {
        tokens.push_back(id);
      }
    }
    return json_answer({{"tokens", std::move(tokens)}});
  });
}

Answer Routes::detokenize(const HttpRequest& request) {
  const nlohmann::json body = parse_body(request.body);
  FieldReader fields(body);
  const nlohmann::json& tokens = fields.require("tokens");
  if (tokens != nlohmann::json::array() && !are_token_ids(tokens)) fields.fail("tokens", "a list of token ids");
  const auto ids = tokens.get<std::vector<int32_t>>();
  const std::string model = fields.text("model");
  fields.finish();
  return with_model(model, [=](ServedModel& loaded) {
    return json_answer({{"content", loaded.tokenizer.decode(ids, false)}});
  });
}

Answer Routes::apply_template(const HttpRequest& request) {
  const nlohmann::json body = parse_body(request.body);
  FieldReader fields(body);
  const std::vector<text::Message> messages = read_messages(fields.require("messages"));
  OrderedBody in_order(body, request.body);
  const ToolsRequest tools = read_tools(fields, in_order);
  const bool add_prompt = fields.flag("add_generation_prompt", true);
  const std::string model = fields.text("model");
  fields.finish();
  return with_model(model, [=](ServedModel& loaded) {
    if (!loaded.chat_template) throw Refusal(400, "the model has no chat template", "model");
    return json_answer({{"prompt", render_chat(*loaded.chat_template, messages, tools.json, add_prompt)}});
  });
}

Answer Routes::health(const HttpRequest&) {
  if (engine_.is_draining()) throw Refusal(503, "the server is shutting down", {}, "shutting_down");
  return json_answer({{"status", "ok"}});
}

Answer Routes::metrics(const HttpRequest&) {
  return HttpAnswer{200, "text/plain; version=0.0.4", engine_.metrics_text(), {}};
}

}  // namespace salient::serve
