#pragma once

#include <nlohmann/json.hpp>

#include "serve/chat_store.h"

namespace salient::serve {

/// As the page's API has them; times are seconds with fractions.
nlohmann::json to_json(const ChatConversation& conversation);
nlohmann::json to_json(const ChatMessage& message);

/// Microseconds of seconds, and back without loss.
double seconds_of(int64_t microseconds);
int64_t microseconds_of(double seconds);

}  // namespace salient::serve
