#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const nlohmann::json config = {{"chat_template", std::string(reinterpret_cast<const char*>(data), size)},
                                 {"bos_token", "<s>"}};
  try {
    const salient::text::ChatTemplate chat(config, "tokenizer_config.json");
    chat.render({{"system", "Be brief."}, {"user", "Hello"}}, true);
  } catch (const salient::core::Error&) {
  }
  return 0;
}
