#include "serve/chat_reader.h"

#include <utility>

namespace salient::serve {

namespace {

void append(ChatParts& to, ToolCallReader::Parts parts) {
  to.content += parts.text;
  to.calls.insert(to.calls.end(), std::make_move_iterator(parts.calls.begin()),
                  std::make_move_iterator(parts.calls.end()));
}

}  // namespace

void ChatParts::add(const ChatParts& more) {
  thought += more.thought;
  content += more.content;
  for (const ToolCallDelta& delta : more.calls) {
    if (calls.empty() || calls.back().index != delta.index) {
      calls.push_back(delta);
    } else {
      calls.back().arguments += delta.arguments;
    }
  }
}

ChatReader::ChatReader(bool begins_inside, const ToolStyle* style, std::set<std::string> names)
    : thoughts_(begins_inside) {
  if (style) calls_.emplace(*style, std::move(names));
}

ChatParts ChatReader::read(const ThoughtSplitter::Parts& parts, bool is_last) {
  ChatParts result{.thought = parts.thought, .content = {}, .calls = {}};
  if (!calls_) {
    result.content = parts.answer;
    return result;
  }
  append(result, calls_->push(parts.answer));
  if (is_last) append(result, calls_->finish());
  return result;
}

ChatParts ChatReader::push(std::string_view piece) {
  return read(thoughts_.push(piece), false);
}

ChatParts ChatReader::finish() {
  return read(thoughts_.finish(), true);
}

nlohmann::json to_delta(const ChatParts& parts) {
  nlohmann::json delta = nlohmann::json::object();
  if (!parts.thought.empty()) delta["reasoning_content"] = parts.thought;
  if (!parts.content.empty()) delta["content"] = parts.content;
  for (const ToolCallDelta& call : parts.calls) {
    nlohmann::json json = {{"index", call.index}, {"function", {{"arguments", call.arguments}}}};
    if (!call.id.empty()) {
      json["id"] = call.id;
      json["type"] = "function";
      json["function"]["name"] = call.name;
    }
    delta["tool_calls"].push_back(std::move(json));
  }
  return delta;
}

nlohmann::json to_message(const ChatParts& parts) {
  nlohmann::json message = {{"role", "assistant"}, {"content", parts.content}, {"refusal", nullptr}};
  if (!parts.thought.empty()) message["reasoning_content"] = parts.thought;
  for (const ToolCallDelta& call : parts.calls) {
    message["tool_calls"].push_back(
        {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  if (!parts.calls.empty() && parts.content.empty()) message["content"] = nullptr;
  return message;
}

}  // namespace salient::serve
