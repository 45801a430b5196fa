#include "serve/response_writer.h"

#include <fmt/format.h>

#include <utility>

#include "serve/answer_json.h"

namespace salient::serve {

using nlohmann::json;

const ResponseWriter::TextKind ResponseWriter::kReasoning = {"reasoning", "rs_", "reasoning_text",
                                                             "response.reasoning_text"};
const ResponseWriter::TextKind ResponseWriter::kMessage = {"message", "msg_", "output_text", "response.output_text"};

ResponseWriter::ResponseWriter(json response) : response_(std::move(response)) {
  response_["status"] = "in_progress";
  response_["output"] = json::array();
}

void ResponseWriter::send(const std::string& type, json fields) {
  fields["type"] = type;
  fields["sequence_number"] = sequence_++;
  events_ += fmt::format("event: {}\n", type) + event(fields);
}

void ResponseWriter::send_response(const char* type) {
  send(type, {{"response", response_}});
}

std::string ResponseWriter::take_events() {
  return std::exchange(events_, {});
}

/// Where events say that they belong.
json ResponseWriter::place() const {
  const json& output = response_["output"];
  return {{"output_index", output.size() - 1}, {"item_id", output.back()["id"]}};
}

std::string ResponseWriter::begin() {
  send_response("response.created");
  send_response("response.in_progress");
  return take_events();
}

void ResponseWriter::open(json item) {
  close("completed");
  item["status"] = "in_progress";
  response_["output"].push_back(std::move(item));
  is_open_ = true;
  send("response.output_item.added", {{"output_index", response_["output"].size() - 1}, {"item", this->item()}});
}

void ResponseWriter::close_text() {
  const json& part = item()["content"][0];
  json done = place();
  done["content_index"] = 0;
  json text = done;
  text["text"] = part["text"];
  if (part.contains("logprobs")) text["logprobs"] = json::array();
  send(std::string(text_->event_prefix) + ".done", std::move(text));
  done["part"] = part;
  send("response.content_part.done", std::move(done));
}

/// Ends the item that is open, if one is.
void ResponseWriter::close(const char* status) {
  if (!is_open_) return;
  if (text_) {
    close_text();
  } else {
    json done = place();
    done["name"] = item()["name"];
    done["arguments"] = item()["arguments"];
    send("response.function_call_arguments.done", std::move(done));
  }
  item()["status"] = status;
  send("response.output_item.done", {{"output_index", response_["output"].size() - 1}, {"item", item()}});
  is_open_ = false;
}

void ResponseWriter::add_text(const TextKind& kind, const std::string& text) {
  if (!is_open_ || text_ != &kind) {
    json item = {{"id", random_id(kind.id_prefix)}, {"type", kind.item}, {"content", json::array()}};
    json part = {{"type", kind.part}, {"text", ""}};
    if (&kind == &kMessage) {
      item["role"] = "assistant";
      part["annotations"] = json::array();
      part["logprobs"] = json::array();
    } else {
      item["summary"] = json::array();
    }
    open(std::move(item));
    text_ = &kind;
    json added = place();
    added["content_index"] = 0;
    added["part"] = part;
    this->item()["content"].push_back(std::move(part));
    send("response.content_part.added", std::move(added));
  }
  if (text.empty()) return;
  json& part = item()["content"][0];
  part["text"].get_ref<std::string&>() += text;
  json delta = place();
  delta["content_index"] = 0;
  delta["delta"] = text;
  if (part.contains("logprobs")) delta["logprobs"] = json::array();
  send(std::string(kind.event_prefix) + ".delta", std::move(delta));
}

void ResponseWriter::add_call(const ToolCallDelta& call) {
  if (!is_open_ || text_ || call_ != call.index) {
    open({{"id", random_id("fc_")},
          {"type", "function_call"},
          {"call_id", call.id},
          {"name", call.name},
          {"arguments", ""}});
    text_ = nullptr;
    call_ = call.index;
  }
  if (call.arguments.empty()) return;
  item()["arguments"].get_ref<std::string&>() += call.arguments;
  json delta = place();
  delta["delta"] = call.arguments;
  send("response.function_call_arguments.delta", std::move(delta));
}

std::string ResponseWriter::grow(const ChatParts& parts) {
  if (!parts.thought.empty()) add_text(kReasoning, parts.thought);
  if (!parts.content.empty()) add_text(kMessage, parts.content);
  for (const ToolCallDelta& call : parts.calls) add_call(call);
  return take_events();
}

std::string ResponseWriter::finish(const std::string& incomplete, json usage) {
  const json& output = response_["output"];
  const bool has_answer = !output.empty() && output.back()["type"] != "reasoning";
  if (!has_answer) add_text(kMessage, "");
  const char* status = incomplete.empty() ? "completed" : "incomplete";
  close(status);
  response_["status"] = status;
  response_["usage"] = std::move(usage);
  if (!incomplete.empty()) response_["incomplete_details"] = {{"reason", incomplete}};
  send_response(incomplete.empty() ? "response.completed" : "response.incomplete");
  return take_events();
}

std::string ResponseWriter::fail(const Refusal& refusal) {
  close("incomplete");
  response_["status"] = "failed";
  response_["error"] = {{"code", refusal.code().empty() ? "server_error" : refusal.code()},
                        {"message", refusal.what()}};
  send_response("response.failed");
  return take_events();
}

}  // namespace salient::serve
