#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace salient::serve {

/// What the events of a streamed chat completion with one choice say together.
struct CompletionNews {
  std::string content;
  std::string reasoning;
  std::optional<int64_t> prompt_processed;  ///< tokens, of `prompt_total`
  int64_t prompt_total = 0;
  std::optional<std::string> finish_reason;  ///< once it has ended
  nlohmann::json timings;
};

/// Reads events as a client does, whole ones: "data: {...}\n\ndata: [DONE]\n\n".
CompletionNews read_completion_events(std::string_view events);

}  // namespace salient::serve
