#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace salient::text {

/// A tokenizer as its tokenizer.json describes it, run by the reference implementation.
/// Immutable; may be used from several threads at once.
class Tokenizer {
 public:
  /// `origin` is what errors call the text: usually the model's path. Throws invalid_input.
  Tokenizer(std::string_view tokenizer_json, const std::string& origin);

  /// Token ids of UTF-8 text. `add_special_tokens` adds what the tokenizer's post-processor adds (a BOS, say);
  /// special tokens spelled out in the text are recognised either way. Throws invalid_input for bad UTF-8.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const;

  /// The text of these tokens. An id outside the vocabulary has none, as in transformers: the tables of many models
  /// are padded with such ids.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  /// The id of a token's exact spelling, for example "<|im_end|>".
  std::optional<int32_t> id_of(std::string_view token) const;

  /// One more than the highest id, added tokens included.
  int32_t vocab_size() const;

 private:
  struct Handle;
  std::shared_ptr<const Handle> handle_;
  std::string origin_;
};

}  // namespace salient::text
