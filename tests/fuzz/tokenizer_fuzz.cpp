#include <string_view>
#include <vector>

#include "core/error.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const salient::text::Tokenizer tokenizer(text, "tokenizer.json");
    const std::vector<int32_t> ids = tokenizer.encode("Hello, \xc3\xa9t\xc3\xa9 <s> 123", true);
    tokenizer.decode(ids, false);
  } catch (const salient::core::Error&) {
  }
  return 0;
}
