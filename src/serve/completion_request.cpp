#include "serve/completion_request.h"

#include <fmt/format.h>

#include <limits>

#include "serve/failure.h"
#include "serve/field_reader.h"
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

/// A text, or the texts of a list of parts.
std::string read_content(const nlohmann::json& content, const std::string& where) {
  if (content.is_null()) return {};
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) throw Refusal(400, where + " is not a text or a list of parts", where);
  std::string text;
  for (const nlohmann::json& part : content) {
    const bool is_text = part.is_object() && part.value("type", nlohmann::json()) == "text" && part.contains("text") &&
                         part["text"].is_string();
    if (!is_text) throw Refusal(400, where + " has a part that is not a text, and only texts are understood", where);
    text += part["text"].get<std::string>();
  }
  return text;
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

std::vector<text::Message> read_messages(const nlohmann::json& messages) {
  if (!messages.is_array() || messages.empty()) {
    throw Refusal(400, "messages is not a list of at least one message", "messages");
  }
  std::vector<text::Message> result;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("messages[{}]", i);
    FieldReader fields(messages[i], where + ".");
    std::string role = fields.require("role").is_string() ? fields.text("role") : std::string();
    if (role == "developer") role = "system";
    if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
      fields.fail("role", "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\"");
    }
    std::string content = read_content(fields.get("content"), where + ".content");
    fields.ignore({"name", "refusal", "annotations", "reasoning_content", "audio", "function_call"});
    std::vector<text::ToolCall> calls;
    if (fields.has("tool_calls")) calls = read_tool_calls(fields.get("tool_calls"), where);
    if (!calls.empty() && role != "assistant") fields.fail("tool_calls", "them only from the assistant");
    std::string call_id = fields.text("tool_call_id");
    fields.finish();
    result.push_back({std::move(role), std::move(content), std::move(calls), std::move(call_id)});
  }
  return result;
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
  const nlohmann::json& prompt = fields.require("prompt");
  if (are_token_ids(prompt)) {
    request.prompts.emplace_back(prompt.get<std::vector<int32_t>>());
  } else if (prompt.is_string()) {
    request.prompts.emplace_back(prompt.get<std::string>());
  } else {
    constexpr const char* kExpected = "a text, a list of token ids, or a list of at most 64 of either";
    if (!prompt.is_array() || prompt.empty() || prompt.size() > kMostPrompts) fields.fail("prompt", kExpected);
    for (const nlohmann::json& item : prompt) {
      if (item.is_string()) {
        request.prompts.emplace_back(item.get<std::string>());
      } else if (are_token_ids(item)) {
        request.prompts.emplace_back(item.get<std::vector<int32_t>>());
      } else {
        fields.fail("prompt", kExpected);
      }
    }
  }
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
