#pragma once

#include <filesystem>
#include <fstream>

#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::tests {

/// Writes a random chat model with a byte tokenizer, which the token `end` ends replies of.
inline void write_chat_model(const std::filesystem::path& folder, int32_t end = 256) {
  const TinyShape shape{.vocab_size = 320, .tied = false};
  write_tiny_model(folder, shape);
  nlohmann::json config = tiny_config(shape);
  config["eos_token_id"] = end;
  std::ofstream(folder / "config.json") << config;
  std::ofstream(folder / "tokenizer.json") << byte_level_tokenizer();
  std::ofstream(folder / "tokenizer_config.json") << nlohmann::json{
      {"chat_template",
       "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
       "{% if tools %}{{ tools | length }} tools\n{% endif %}{% if add_generation_prompt %}assistant:{% endif %}"}};
}

}  // namespace salient::tests
