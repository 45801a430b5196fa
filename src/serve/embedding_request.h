#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "serve/prompt_fields.h"

namespace salient::serve {

/// What /v1/embeddings is asked.
struct EmbeddingRequest {
  std::string model;
  std::vector<Prompt> inputs;
  bool in_base64 = false;  ///< the bytes of little-endian fp32 numbers, instead of a list of numbers
  std::string user;
};

/// Reads the body of /v1/embeddings. Throws a Refusal that names the field at fault.
EmbeddingRequest read_embedding_request(const nlohmann::json& body);

}  // namespace salient::serve
