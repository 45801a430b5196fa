#include "serve/chat_json.h"

#include <cmath>

namespace salient::serve {

namespace {

nlohmann::json or_null(const std::optional<std::string>& text) {
  return text ? nlohmann::json(*text) : nlohmann::json();
}

}  // namespace

double seconds_of(int64_t microseconds) {
  return static_cast<double>(microseconds) / 1e6;
}

int64_t microseconds_of(double seconds) {
  return std::llround(seconds * 1e6);
}

nlohmann::json to_json(const ChatConversation& conversation) {
  return {{"id", conversation.id},
          {"title", conversation.title},
          {"created", seconds_of(conversation.created)},
          {"updated", seconds_of(conversation.updated)},
          {"settings", conversation.settings},
          {"head", or_null(conversation.head)}};
}

nlohmann::json to_json(const ChatMessage& message) {
  return {{"id", message.id},
          {"parent", or_null(message.parent)},
          {"role", message.role},
          {"content", message.content},
          {"reasoning", message.reasoning},
          {"model", message.model},
          {"state", message.state},
          {"error", message.error},
          {"created", seconds_of(message.created)},
          {"timings", message.timings},
          {"finish_reason", or_null(message.finish_reason)}};
}

}  // namespace salient::serve
