#include "serve/completion_events.h"

namespace salient::serve {

namespace {

void read_chunk(const nlohmann::json& chunk, CompletionNews& news) {
  if (const auto progress = chunk.find("prompt_progress"); progress != chunk.end()) {
    news.prompt_processed = progress->at("processed").get<int64_t>();
    news.prompt_total = progress->at("total").get<int64_t>();
  }
  if (const auto timings = chunk.find("timings"); timings != chunk.end()) news.timings = *timings;
}

void read_choice(const nlohmann::json& choice, CompletionNews& news) {
  const auto text = [](const nlohmann::json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  news.content += text(choice.at("delta"), "content");
  news.reasoning += text(choice.at("delta"), "reasoning_content");
  if (const std::string reason = text(choice, "finish_reason"); !reason.empty()) news.finish_reason = reason;
}

}  // namespace

CompletionNews read_completion_events(std::string_view events) {
  constexpr std::string_view kStart = "data: {";
  constexpr std::string_view kEnd = "\n\n";
  CompletionNews news;
  for (size_t end; (end = events.find(kEnd)) != std::string_view::npos; events.remove_prefix(end + kEnd.size())) {
    if (!events.starts_with(kStart)) continue;
    const auto chunk = nlohmann::json::parse(events.substr(kStart.size() - 1, end - kStart.size() + 1));
    read_chunk(chunk, news);
    for (const nlohmann::json& choice : chunk.at("choices")) read_choice(choice, news);
  }
  return news;
}

}  // namespace salient::serve
