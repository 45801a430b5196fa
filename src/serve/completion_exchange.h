#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "serve/answer_json.h"
#include "serve/chat_reader.h"
#include "serve/completion_request.h"
#include "serve/mailbox.h"
#include "serve/model_exchange.h"

namespace salient::serve {

/// Answers a chat or text completion: waits for the model, starts the replies, and writes what they become, as one
/// object or as a stream of chunks.
class CompletionExchange : public ModelExchange {
 public:
  CompletionExchange(Engine& engine, size_t model, CompletionRequest request, std::string client);
  /// The replies end within a step.
  ~CompletionExchange() override { stop_.request_stop(); }

  void on_news(std::function<void()> wake) override;
  Part next() override;
  bool is_stream() const override { return request_.stream; }

 private:
  struct Choice {
    std::string text;   ///< of a text completion
    ChatReader reader;  ///< of a chat; so are `parts` and `logprobs`
    ChatParts parts;
    std::vector<generate::LogProbabilities> logprobs;
    TextLogprobs text_logprobs;
    bool has_begun = false;
    bool has_ended = false;
    generate::Reply reply;
  };

  void start();
  std::vector<int32_t> encode(size_t prompt);
  std::shared_ptr<generate::GrammarMask> make_mask() const;
  Choice new_choice() const;
  std::string prompt_text(size_t choice) const;
  std::string take(size_t index, const generate::ReplyUpdate& update);
  void gather(Choice& choice, size_t index, const generate::ReplyUpdate& update);
  nlohmann::json logprobs_of(Choice& choice);
  const char* finish_of(const Choice& choice, generate::FinishReason reason) const;
  std::string write_chunk(size_t index, const generate::ReplyUpdate& update);
  nlohmann::json envelope(nlohmann::json choices, bool is_chunk) const;
  nlohmann::json usage() const;
  HttpAnswer whole();

  CompletionRequest request_;
  std::string client_;
  std::stop_source stop_;
  std::function<void()> wake_;
  std::shared_ptr<ServedModel> model_;
  const ToolStyle* tool_style_ = nullptr;  ///< null where there are no tools
  bool begins_inside_ = false;             ///< whether the prompt ends in a thought
  std::shared_ptr<Mailbox> mailbox_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<Choice> choices_;  ///< all of the first prompt, then all of the second, ...
  size_t ended_ = 0;
  std::string id_;
  int64_t created_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace salient::serve
