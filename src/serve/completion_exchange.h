#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "serve/answer_json.h"
#include "serve/chat_reader.h"
#include "serve/reply_exchange.h"

namespace salient::serve {

/// Answers a chat or text completion: writes what its replies become, as one object or as a stream of chunks.
class CompletionExchange : public ReplyExchange {
 public:
  CompletionExchange(Engine& engine, size_t model, CompletionRequest request, std::string client);

 protected:
  void begin(size_t replies) override;
  std::string take(size_t reply, const generate::ReplyUpdate& update) override;
  std::string end_stream() override;
  HttpAnswer whole() override;

 private:
  struct Choice {
    std::string text;   ///< of a text completion
    ChatReader reader;  ///< of a chat; so are `parts` and `logprobs`
    ChatParts parts;
    std::vector<generate::LogProbabilities> logprobs;
    TextLogprobs text_logprobs;
    bool has_begun = false;
    generate::Reply reply;
  };

  std::string prompt_text(size_t choice) const;
  void gather(Choice& choice, size_t index, const generate::ReplyUpdate& update);
  nlohmann::json logprobs_of(Choice& choice);
  const char* finish_of(const Choice& choice, generate::FinishReason reason) const;
  std::string write_chunk(size_t index, const generate::ReplyUpdate& update);
  nlohmann::json envelope(nlohmann::json choices, bool is_chunk) const;
  nlohmann::json usage() const;

  std::vector<Choice> choices_;  ///< all of the first prompt, then all of the second, ...
  std::string id_;
  int64_t created_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace salient::serve
