#pragma once

#include <optional>
#include <string>

#include "serve/reply_exchange.h"
#include "serve/response_request.h"
#include "serve/response_writer.h"

namespace salient::serve {

/// Answers /v1/responses: as one object, or as the events that tell how it came to be.
class ResponseExchange : public ReplyExchange {
 public:
  ResponseExchange(Engine& engine, size_t model, ResponseRequest request, std::string client);

  /// A stream that has begun says itself that its reply has failed.
  Part next() override;

 protected:
  void begin(size_t replies) override;
  std::string take(size_t reply, const generate::ReplyUpdate& update) override;
  std::string end_stream() override { return {}; }
  HttpAnswer whole() override;

 private:
  nlohmann::json usage_of(const generate::Reply& reply) const;

  ResponseWriter writer_;
  std::optional<ChatReader> reader_;
  std::string thought_;
  bool has_begun_ = false;
};

}  // namespace salient::serve
