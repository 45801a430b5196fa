#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "serve/chat_reader.h"
#include "serve/completion_request.h"
#include "serve/mailbox.h"
#include "serve/model_exchange.h"

namespace salient::serve {

/// Answers a request with replies of a model: waits for the model and starts the replies. What is made of them is up to
/// the classes that derive from it.
class ReplyExchange : public ModelExchange {
 public:
  ReplyExchange(Engine& engine, size_t model, CompletionRequest request, std::string client);
  /// The replies end within a step.
  ~ReplyExchange() override { stop_.request_stop(); }

  Part next() override;
  bool is_stream() const override { return request_.stream; }

 protected:
  /// The model is there and the prompts are encoded; the replies are about to start.
  virtual void begin(size_t replies) = 0;
  /// Takes in what a reply has become; for a stream, the events that say so.
  virtual std::string take(size_t reply, const generate::ReplyUpdate& update) = 0;
  /// The last events of a stream: all replies have ended.
  virtual std::string end_stream() = 0;
  /// The answer that is no stream.
  virtual HttpAnswer whole() = 0;

  /// Of a chat: reads what the model writes.
  ChatReader new_reader() const;
  const CompletionRequest& request() const { return request_; }
  const ServedModel& served() const { return *model_; }
  const std::string& model_name() const { return engine_.models()[index_].name; }
  const std::vector<int32_t>& prompt_of(size_t reply) const {
    return prompts_[reply / static_cast<size_t>(request_.choices)];
  }

 private:
  void start();
  std::vector<int32_t> encode_prompt(size_t prompt);
  std::shared_ptr<generate::GrammarMask> make_mask() const;

  CompletionRequest request_;
  std::string client_;
  std::stop_source stop_;
  std::shared_ptr<ServedModel> model_;
  const ToolStyle* tool_style_ = nullptr;  ///< null where there are no tools
  bool begins_inside_ = false;             ///< whether the prompt ends in a thought
  std::shared_ptr<Mailbox> mailbox_;
  std::vector<std::vector<int32_t>> prompts_;
  size_t replies_ = 0;  ///< all of the first prompt, then all of the second, ...
  size_t ended_ = 0;
};

}  // namespace salient::serve
