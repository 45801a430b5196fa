#include "serve/prompt_fields.h"

#include <fmt/format.h>

namespace salient::serve {

std::vector<Prompt> read_prompts(FieldReader& fields, const char* name, size_t most) {
  const nlohmann::json& given = fields.require(name);
  if (are_token_ids(given)) return {given.get<std::vector<int32_t>>()};
  if (given.is_string()) return {given.get<std::string>()};
  const std::string expected = fmt::format("a text, a list of token ids, or a list of at most {} of either", most);
  if (!given.is_array() || given.empty() || given.size() > most) fields.fail(name, expected);
  std::vector<Prompt> prompts;
  for (const nlohmann::json& item : given) {
    if (item.is_string()) {
      prompts.emplace_back(item.get<std::string>());
    } else if (are_token_ids(item)) {
      prompts.emplace_back(item.get<std::vector<int32_t>>());
    } else {
      fields.fail(name, expected);
    }
  }
  return prompts;
}

std::vector<int32_t> encode(const Prompt& prompt, const text::Tokenizer& tokenizer) {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) return *ids;
  return tokenizer.encode(std::get<std::string>(prompt), true);
}

}  // namespace salient::serve
