#include "serve/completion_request.h"

#include <fmt/format.h>

#include <limits>

#include "serve/failure.h"
#include "serve/field_reader.h"
#include "serve/message_fields.h"
#include "serve/ordered_body.h"
#include "serve/reply_format.h"
#include "serve/sampling_fields.h"

namespace salient::serve {

namespace {

constexpr int64_t kMostChoices = 32;
constexpr int64_t kMostLogprobs = 20;
constexpr size_t kMostStops = 16;
constexpr size_t kMostPrompts = 64;
constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

void read_common(FieldReader& fields, OrderedBody& body, CompletionRequest& request) {
  request.model = fields.text("model");
  request.user = fields.text("user");
  request.choices = fields.integer("n", 1, kMostChoices).value_or(1);
  request.stop = fields.texts("stop", kMostStops);
  for (const std::string& stop : request.stop) {
    if (stop.empty()) fields.fail("stop", "texts that are not empty");
  }
  request.stream = fields.flag("stream");
  request.return_progress = fields.flag("return_progress");
  if (fields.has("stream_options")) {
    FieldReader options(fields.get("stream_options"), "stream_options.");
    request.include_usage = options.flag("include_usage");
    options.ignore({"include_obfuscation"});
    options.finish();
    if (!request.stream) fields.fail("stream_options", "it only where stream is true");
  }
  read_sampling(fields, request.sampling);
  request.logit_bias = read_logit_bias(fields);
  request.grammar = read_reply_format(fields, body);
  fields.ignore({"metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "cache_prompt",
                 "verbosity", "prompt_cache_retention"});
}

}  // namespace

nlohmann::json parse_body(const std::string& body) {
  static constexpr int kDeepest = 64;
  const auto check_depth = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kDeepest) throw Refusal(400, fmt::format("the body is nested deeper than {} levels", kDeepest));
    return true;
  };
  try {
    nlohmann::json json = nlohmann::json::parse(body, check_depth);
    if (!json.is_object()) throw Refusal(400, "the body is not a JSON object");
    return json;
  } catch (const nlohmann::json::parse_error& error) {
    throw Refusal(400, fmt::format("the body is not JSON: it goes wrong at byte {} of {}", error.byte, body.size()));
  } catch (const nlohmann::json::exception&) {
    throw Refusal(400, "the body has a number that is out of range");
  }
}

CompletionRequest read_chat_request(const nlohmann::json& body, const RequestDefaults& defaults,
                                    const std::string& text) {
  CompletionRequest request;
  request.sampling = defaults.sampling;
  FieldReader fields(body);
  request.messages = read_messages(fields.require("messages"));
  OrderedBody in_order(body, text);
  read_common(fields, in_order, request);
  request.tools = read_tools(fields, in_order);
  if (request.grammar && !request.tools.tools.empty()) {
    fields.fail("tools", "none beside a format of the reply: the calls would not follow it");
  }
  request.max_tokens = fields.integer("max_completion_tokens", 1, kAny);
  if (const auto older_name = fields.integer("max_tokens", 1, kAny); !request.max_tokens)
    request.max_tokens = older_name;
  const bool logprobs = fields.flag("logprobs");
  const auto top_logprobs = fields.integer("top_logprobs", 0, kMostLogprobs);
  if (top_logprobs && !logprobs) fields.fail("top_logprobs", "it only where logprobs is true");
  if (logprobs) request.logprobs = top_logprobs.value_or(0);
  fields.finish();
  return request;
}

CompletionRequest read_text_request(const nlohmann::json& body, const RequestDefaults& defaults,
                                    const std::string& text) {
  CompletionRequest request;
  request.sampling = defaults.sampling;
  FieldReader fields(body);
  request.prompts = read_prompts(fields, "prompt", kMostPrompts);
  OrderedBody in_order(body, text);
  read_common(fields, in_order, request);
  if (const auto& tools = fields.get("tools"); !tools.is_null() && !tools.empty()) {
    fields.fail("tools", "none: only chats have them");
  }
  constexpr int64_t kDefaultTokens = 16;  // of OpenAI's API
  request.max_tokens = fields.integer("max_tokens", 0, kAny).value_or(kDefaultTokens);
  request.logprobs = fields.integer("logprobs", 0, kMostLogprobs);
  request.echo = fields.flag("echo");
  if (const auto& suffix = fields.get("suffix"); !suffix.is_null() && suffix != "") {
    fields.fail("suffix", "none: it is not supported");
  }
  if (fields.integer("best_of", 1, kMostChoices).value_or(request.choices) != request.choices) {
    fields.fail("best_of", "the same as n");
  }
  fields.finish();
  return request;
}

}  // namespace salient::serve
