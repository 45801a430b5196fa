#include "text/tokenizer.h"

#include <salient_rust.h>

#include "core/error.h"
#include "rust/rust_text.h"

namespace salient::text {

struct Tokenizer::Handle {
  salient_tokenizer* tokenizer = nullptr;
  ~Handle() {
    if (tokenizer) salient_tokenizer_free(tokenizer);
  }
};

Tokenizer::Tokenizer(std::string_view tokenizer_json, const std::string& origin) : origin_(origin) {
  if (tokenizer_json.empty()) {
    core::fail(core::ErrorKind::kNotFound, "{}: has no tokenizer (tokenizer.json)", origin_);
  }
  auto handle = std::make_shared<Handle>();
  salient_text error{};
  if (!salient_tokenizer_new(tokenizer_json.data(), tokenizer_json.size(), &handle->tokenizer, &error)) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: tokenizer.json: {}", origin_, rust::take(error));
  }
  handle_ = std::move(handle);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  salient_ids ids{};
  salient_text error{};
  if (!salient_tokenizer_encode(handle_->tokenizer, text.data(), text.size(), add_special_tokens, &ids, &error)) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: the text cannot be encoded: {}", origin_, rust::take(error));
  }
  std::vector<int32_t> result(ids.data, ids.data + ids.size);
  salient_ids_free(ids);
  return result;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  const std::vector<uint32_t> unsigned_ids(ids.begin(), ids.end());
  salient_text text{};
  salient_text error{};
  if (!salient_tokenizer_decode(handle_->tokenizer, unsigned_ids.data(), unsigned_ids.size(), skip_special_tokens,
                                &text, &error)) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: the tokens cannot be decoded: {}", origin_, rust::take(error));
  }
  return rust::take(text);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  const int64_t id = salient_tokenizer_id_of(handle_->tokenizer, token.data(), token.size());
  if (id < 0) return std::nullopt;
  return static_cast<int32_t>(id);
}

int32_t Tokenizer::vocab_size() const {
  return static_cast<int32_t>(salient_tokenizer_vocab_size(handle_->tokenizer));
}

}  // namespace salient::text
