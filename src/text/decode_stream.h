#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace salient::text {

/// Decodes a reply that arrives token by token, at a cost for each token that does not grow with the reply. No piece
/// ends inside a UTF-8 character. The pieces put together equal the decoding of the whole, with one exception: tokens
/// that spell bytes decode to replacement characters alone when one of their run makes no character; characters that
/// such a run had completed before stay as they were given out.
class DecodeStream {
 public:
  /// The tokenizer must outlive the stream. Of special tokens that are skipped, those in `spelled` are not.
  DecodeStream(const Tokenizer& tokenizer, bool skip_special_tokens, std::vector<int32_t> spelled = {})
      : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens), spelled_(std::move(spelled)) {}

  /// The text that this token completes; empty while a character is unfinished.
  std::string push(int32_t id);
  /// What is left when the reply ends inside a character (replacement characters, as decode gives); else empty.
  std::string finish();

 private:
  std::string decode(std::span<const int32_t> ids) const { return tokenizer_->decode(ids, skip_special_tokens_); }
  std::string open_text() const;
  void forget_the_oldest();

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> spelled_;
  /// First `closed_`, tokens whose text is out; then open ones, whose text is not, or not all of it. Only with some
  /// before it does a token decode to what it adds to a text: some decoders strip the space of a first word.
  std::vector<int32_t> ids_;
  size_t closed_ = 0;
  std::string emitted_;  ///< the beginning of open_text() that is out
};

}  // namespace salient::text
