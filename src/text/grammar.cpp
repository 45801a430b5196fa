#include "text/grammar.h"

#include <salient_rust.h>

#include <utility>

#include "core/error.h"
#include "rust/rust_text.h"

namespace salient::text {

namespace {

/// An error may quote the whole grammar.
std::string shortened(std::string text) {
  constexpr size_t kMost = 500;
  if (text.size() <= kMost) return text;
  size_t end = kMost;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "...";
}

}  // namespace

struct GrammarVocabulary::Handle {
  salient_vocabulary* vocabulary = nullptr;
  ~Handle() {
    if (vocabulary) salient_vocabulary_free(vocabulary);
  }
};

struct Grammar::Handle {
  explicit Handle(size_t vocab_size) : allowed(new bool[vocab_size]), size(vocab_size) {}
  ~Handle() {
    if (grammar) salient_grammar_free(grammar);
  }
  salient_grammar* grammar = nullptr;
  std::unique_ptr<bool[]> allowed;
  size_t size;
};

GrammarVocabulary::GrammarVocabulary(std::string_view tokenizer_json, int64_t size, int32_t end,
                                     const std::string& origin)
    : size_(size) {
  auto handle = std::make_shared<Handle>();
  salient_text error{};
  if (!salient_vocabulary_new(tokenizer_json.data(), tokenizer_json.size(), static_cast<size_t>(size),
                              static_cast<uint32_t>(end), &handle->vocabulary, &error)) {
    core::fail(core::ErrorKind::kUnsupported, "{}: grammars cannot be followed with this tokenizer: {}", origin,
               rust::take(error));
  }
  handle_ = std::move(handle);
}

Grammar::Grammar(const GrammarVocabulary& vocabulary, const GrammarText& grammar)
    : handle_(std::make_shared<Handle>(static_cast<size_t>(vocabulary.size_))) {
  const auto& [kind, text] = grammar;
  if (kind != "json_schema" && kind != "regex" && kind != "lark") {
    core::fail(core::ErrorKind::kInvalidInput, "the grammar's kind is \"{}\", expected json_schema, regex or lark",
               kind);
  }
  salient_text error{};
  if (!salient_grammar_new(vocabulary.handle_->vocabulary, kind.data(), kind.size(), text.data(), text.size(),
                           &handle_->grammar, &error)) {
    core::fail(core::ErrorKind::kInvalidInput, "the grammar ({}) cannot be compiled: {}", kind,
               shortened(rust::take(error)));
  }
}

Grammar Grammar::from_its_start() const {
  auto handle = std::make_shared<Handle>(handle_->size);
  handle->grammar = salient_grammar_clone(handle_->grammar);
  if (!handle->grammar) core::fail(core::ErrorKind::kInternal, "a grammar cannot be begun again");
  return Grammar(std::move(handle));
}

std::span<const bool> Grammar::allowed() {
  salient_text error{};
  if (!salient_grammar_allowed(handle_->grammar, handle_->allowed.get(), &error)) {
    core::fail(core::ErrorKind::kInvalidInput, "the grammar cannot be followed further: {}", rust::take(error));
  }
  return {handle_->allowed.get(), handle_->size};
}

void Grammar::accept(int32_t token) {
  salient_text error{};
  if (salient_grammar_accept(handle_->grammar, static_cast<uint32_t>(token), &error)) return;
  core::fail(core::ErrorKind::kInvalidInput, "token {} may not come next by the grammar: {}", token, rust::take(error));
}

void Grammar::rewind(int64_t tokens) {
  salient_text error{};
  if (salient_grammar_rewind(handle_->grammar, static_cast<size_t>(tokens), &error)) return;
  core::fail(core::ErrorKind::kInternal, "the grammar cannot go back {} tokens: {}", tokens, rust::take(error));
}

void Grammar::restart() {
  salient_grammar_restart(handle_->grammar);
}

bool Grammar::complete() const {
  return salient_grammar_complete(handle_->grammar);
}

}  // namespace salient::text
