#include "serve/embedding_request.h"

#include "serve/field_reader.h"

namespace salient::serve {

EmbeddingRequest read_embedding_request(const nlohmann::json& body) {
  constexpr size_t kMostInputs = 2048;  // of OpenAI's API
  EmbeddingRequest request;
  FieldReader fields(body);
  request.model = fields.text("model");
  request.user = fields.text("user");
  request.inputs = read_prompts(fields, "input", kMostInputs);
  const std::string format = fields.text("encoding_format", "float");
  if (format != "float" && format != "base64") fields.fail("encoding_format", "\"float\" or \"base64\"");
  request.in_base64 = format == "base64";
  if (fields.has("dimensions")) fields.fail("dimensions", "none: an embedding has as many as the model's hidden state");
  fields.finish();
  return request;
}

}  // namespace salient::serve
