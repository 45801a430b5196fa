#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"
#include "model/decoder_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using nlohmann::json;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const json config = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded()) return 0;
  try {
    salient::model::read_decoder_spec(config, json::object(), "config.json");
    salient::model::read_decoder_spec({{"model_type", "llama"}}, config, "config.json");
  } catch (const salient::core::Error&) {
  }
  return 0;
}
