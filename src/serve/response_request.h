#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "serve/completion_request.h"

namespace salient::serve {

/// What /v1/responses is asked: a chat with one reply.
struct ResponseRequest {
  CompletionRequest completion;
  nlohmann::json repeated;  ///< the fields of the request that its answer says again
};

/// Reads the body of /v1/responses, as `read_chat_request` does that of a chat. Nothing is kept from one request to the
/// next, so what refers to earlier ones is refused.
ResponseRequest read_response_request(const nlohmann::json& body, const RequestDefaults& defaults,
                                      const std::string& text = {});

}  // namespace salient::serve
