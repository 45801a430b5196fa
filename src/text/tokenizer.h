#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace salient::text {

class DecodeStream;

/// A tokenizer as its tokenizer.json describes it, run by the reference implementation.
/// Immutable; may be used from several threads at once.
class Tokenizer {
 public:
  /// `origin` is what errors call the text: usually the model's path. Throws invalid_input.
  Tokenizer(std::string_view tokenizer_json, const std::string& origin);

  /// Token ids of UTF-8 text. `add_special_tokens` adds what the tokenizer's post-processor adds (a BOS, say);
  /// special tokens spelled out in the text are recognised either way. Throws invalid_input for bad UTF-8.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const;

  /// The text of these tokens. Throws invalid_input for an id outside the vocabulary.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  /// The id of a token's exact spelling, for example "<|im_end|>".
  std::optional<int32_t> id_of(std::string_view token) const;

  /// One more than the highest id, added tokens included.
  int32_t vocab_size() const;

  /// Starts the decoding of a reply that arrives token by token. The stream must not outlive the tokenizer.
  DecodeStream stream(bool skip_special_tokens) const;

 private:
  struct Handle;
  std::shared_ptr<const Handle> handle_;
  std::string origin_;
};

/// Decodes a growing reply. The pieces put together equal the decoding of the whole, and no piece ends inside a UTF-8
/// character.
class DecodeStream {
 public:
  DecodeStream(const Tokenizer& tokenizer, bool skip_special_tokens)
      : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens) {}

  /// The text that this token completes; empty while a character is unfinished.
  std::string push(int32_t id);
  /// What is left when the reply ends inside a character (replacement characters, as decode gives); else empty.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  /// The tokens of the last piece, then those whose text is still to come. Only with the ones before it does a token
  /// decode to what it adds to a text: some decoders strip the space of a first word.
  std::vector<int32_t> ids_;
  size_t emitted_tokens_ = 0;  ///< of ids_
  size_t emitted_bytes_ = 0;   ///< of the decoding of ids_
};

}  // namespace salient::text
