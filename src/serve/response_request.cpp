#include "serve/response_request.h"

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

using text::Message;

constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

Message read_message(FieldReader& fields, const std::string& where) {
  std::string role = fields.require("role").is_string() ? fields.text("role") : std::string();
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant") {
    fields.fail("role", "\"system\", \"developer\", \"user\" or \"assistant\"");
  }
  std::string content =
      read_content(fields.require("content"), where + ".content", {"input_text", "output_text", "text"});
  return {std::move(role), std::move(content)};
}

Message read_call_output(FieldReader& fields, const std::string& where) {
  fields.require("call_id");
  std::string call_id = fields.text("call_id");
  return {"tool", read_content(fields.require("output"), where + ".output", {"input_text"}), {}, std::move(call_id)};
}

text::ToolCall read_call(FieldReader& fields) {
  text::ToolCall call = read_called_function(fields);
  fields.require("call_id");
  call.id = fields.text("call_id");
  return call;
}

void read_item(const nlohmann::json& item, const std::string& where, std::vector<Message>& messages) {
  FieldReader fields(item, where + ".");
  fields.ignore({"id", "status"});
  const std::string type = fields.text("type", "message");
  if (type == "message") {
    messages.push_back(read_message(fields, where));
  } else if (type == "function_call") {
    // In a chat, what the assistant says and the calls that follow are one message.
    if (messages.empty() || messages.back().role != "assistant") messages.push_back({"assistant", ""});
    messages.back().tool_calls.push_back(read_call(fields));
  } else if (type == "function_call_output") {
    messages.push_back(read_call_output(fields, where));
  } else if (type == "reasoning") {
    // Templates leave out the thoughts of earlier turns.
    fields.ignore({"summary", "content", "encrypted_content"});
  } else {
    fields.fail("type", "\"message\", \"function_call\", \"function_call_output\" or \"reasoning\"");
  }
  fields.finish();
}

std::vector<Message> read_input(FieldReader& fields) {
  std::vector<Message> messages;
  if (fields.has("instructions")) messages.push_back({"system", fields.text("instructions")});
  const size_t instructions = messages.size();
  const nlohmann::json& input = fields.require("input");
  if (input.is_string()) {
    messages.push_back({"user", input.get<std::string>()});
  } else {
    if (!input.is_array()) fields.fail("input", "a text or a list of items");
    for (size_t i = 0; i < input.size(); ++i) read_item(input[i], fmt::format("input[{}]", i), messages);
  }
  if (messages.size() == instructions) fields.fail("input", "at least one message");
  return messages;
}

/// Refuses what is only possible where answers are kept, and what this server does not do.
void refuse_what_is_not_done(FieldReader& fields) {
  for (const char* name : {"previous_response_id", "conversation"}) {
    if (fields.has(name)) {
      fields.fail(name, "none: no response is kept here; send the earlier items in input");
    }
  }
  if (fields.flag("background")) fields.fail("background", "false: no response is kept here, to be fetched later");
  if (fields.has("prompt")) fields.fail("prompt", "none: there are no stored prompts here");
  if (fields.text("truncation", "disabled") != "disabled") {
    fields.fail("truncation", "\"disabled\": nothing is left out of an input here");
  }
  if (fields.integer("top_logprobs", 0, kAny).value_or(0) != 0) {
    fields.fail("top_logprobs", "0: log-probabilities are in /v1/chat/completions");
  }
  if (const auto& reasoning = fields.get("reasoning"); !reasoning.is_null()) {
    FieldReader parts(reasoning, "reasoning.");
    for (const char* name : {"effort", "summary", "generate_summary"}) {
      if (parts.has(name)) parts.fail(name, "none: models here think as their templates have them");
    }
    parts.finish();
  }
  // The thoughts of a reply are in the answer anyhow, and in the open.
  for (const std::string& included : fields.texts("include", 16)) {
    if (included != "reasoning.encrypted_content") fields.fail("include", "\"reasoning.encrypted_content\" at most");
  }
}

void read_stream(FieldReader& fields, CompletionRequest& request) {
  request.stream = fields.flag("stream");
  if (!fields.has("stream_options")) return;
  FieldReader options(fields.get("stream_options"), "stream_options.");
  options.ignore({"include_obfuscation"});
  options.finish();
  if (!request.stream) fields.fail("stream_options", "it only where stream is true");
}

/// The value of a field, or another where it is not there.
nlohmann::json value_or(FieldReader& fields, const char* name, nlohmann::json otherwise) {
  return fields.has(name) ? fields.get(name) : std::move(otherwise);
}

nlohmann::json repeat(FieldReader& fields, const CompletionRequest& request) {
  nlohmann::json text = value_or(fields, "text", nlohmann::json::object());
  if (!text.contains("format")) text["format"] = {{"type", "text"}};
  return {{"background", false},
          {"instructions", fields.get("instructions")},
          {"max_output_tokens", fields.get("max_output_tokens")},
          {"metadata", value_or(fields, "metadata", nlohmann::json::object())},
          {"parallel_tool_calls", fields.flag("parallel_tool_calls", true)},
          {"previous_response_id", nullptr},
          {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
          {"store", false},
          {"temperature", request.sampling.temperature},
          {"text", std::move(text)},
          {"tool_choice", value_or(fields, "tool_choice", "auto")},
          {"tools", value_or(fields, "tools", nlohmann::json::array())},
          {"top_logprobs", 0},
          {"top_p", request.sampling.top_p},
          {"truncation", "disabled"},
          {"user", fields.get("user")}};
}

}  // namespace

ResponseRequest read_response_request(const nlohmann::json& body, const RequestDefaults& defaults,
                                      const std::string& text) {
  ResponseRequest result;
  CompletionRequest& request = result.completion;
  request.sampling = defaults.sampling;
  FieldReader fields(body);
  request.model = fields.text("model");
  request.user = fields.text("user");
  refuse_what_is_not_done(fields);
  request.messages = read_input(fields);
  request.max_tokens = fields.integer("max_output_tokens", 1, kAny);
  read_stream(fields, request);
  read_sampling(fields, request.sampling);
  OrderedBody in_order(body, text);
  request.grammar = read_text_format(fields, in_order);
  request.tools = read_tools(fields, in_order, ToolForm::kFlat);
  if (request.grammar && !request.tools.tools.empty()) {
    fields.fail("tools", "none beside a format of the reply: the calls would not follow it");
  }
  // `store` among them: the answer says that it was not.
  fields.ignore({"store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
                 "max_tool_calls"});
  result.repeated = repeat(fields, request);
  fields.finish();
  return result;
}

}  // namespace salient::serve
