#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "serve/embedding_request.h"
#include "serve/mailbox.h"
#include "serve/model_exchange.h"

namespace salient::serve {

/// Answers /v1/embeddings: the mean of each input's hidden states, of length 1.
class EmbeddingExchange : public ModelExchange {
 public:
  EmbeddingExchange(Engine& engine, size_t model, EmbeddingRequest request, std::string client);
  /// What is still computed ends within a step.
  ~EmbeddingExchange() override { stop_.request_stop(); }

  Part next() override;

 private:
  void prepare();
  void submit_more();
  HttpAnswer whole() const;

  EmbeddingRequest request_;
  std::string client_;
  std::stop_source stop_;
  std::shared_ptr<ServedModel> model_;
  std::shared_ptr<Mailbox> mailbox_;
  std::vector<generate::ReplyRequest> waiting_;  ///< of each input, until it is submitted
  std::vector<std::vector<float>> embeddings_;   ///< of each input
  int64_t tokens_ = 0;                           ///< of all inputs
  size_t submitted_ = 0;
  size_t ended_ = 0;
};

}  // namespace salient::serve
