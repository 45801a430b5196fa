#include <utility>

#include "api/parts.h"
#include "text/decode_stream.h"

namespace salient {

Tokenizer::Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return parts_->tokenizer.encode(text, add_special_tokens);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  return parts_->tokenizer.decode(ids, skip_special_tokens);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  return parts_->tokenizer.id_of(token);
}

int32_t Tokenizer::vocab_size() const {
  return parts_->tokenizer.vocab_size();
}

struct TokenStream::Parts {
  std::shared_ptr<const Tokenizer::Parts> tokenizer;  ///< outlives the stream
  text::DecodeStream stream;
};

TokenStream::TokenStream(const Tokenizer& tokenizer, bool skip_special_tokens)
    : parts_(new Parts{tokenizer.parts(), text::DecodeStream(tokenizer.parts()->tokenizer, skip_special_tokens)}) {}

TokenStream::~TokenStream() = default;
TokenStream::TokenStream(TokenStream&&) noexcept = default;
TokenStream& TokenStream::operator=(TokenStream&&) noexcept = default;

std::string TokenStream::push(int32_t id) {
  return parts_->stream.push(id);
}

std::string TokenStream::finish() {
  return parts_->stream.finish();
}

ChatTemplate::ChatTemplate(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

std::string ChatTemplate::render(const std::vector<Message>& messages, bool add_generation_prompt) const {
  std::vector<text::Message> turns;
  for (const Message& message : messages) turns.push_back({message.role, message.content});
  return parts_->chat_template.render(turns, add_generation_prompt);
}

std::string ChatTemplate::render_json(std::string_view messages, std::string_view tools,
                                      bool add_generation_prompt) const {
  return parts_->chat_template.render_json(messages, tools, add_generation_prompt);
}

}  // namespace salient
