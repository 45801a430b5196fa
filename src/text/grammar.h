#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace salient::text {

class Grammar;

/// The tokens of a model as the bytes they stand for: what grammars are compiled for. Immutable; may be used from
/// several threads at once.
class GrammarVocabulary {
 public:
  /// From a tokenizer.json, for a model of `size` ids whose replies end with the token `end`. Throws unsupported for a
  /// tokenizer whose tokens do not spell bytes.
  GrammarVocabulary(std::string_view tokenizer_json, int64_t size, int32_t end, const std::string& origin);

 private:
  friend class Grammar;
  struct Handle;
  std::shared_ptr<const Handle> handle_;
  int64_t size_;
};

/// A grammar as it is written. `kind` is "json_schema", "regex" (of the whole reply) or "lark" (llguidance's dialect).
struct GrammarText {
  std::string kind;
  std::string text;
};

/// What a reply must follow, and how far one reply has come in it. By llguidance; only its kind "lark" has a syntax of
/// its own.
class Grammar {
 public:
  /// Throws invalid_input with what is wrong in the text.
  Grammar(const GrammarVocabulary& vocabulary, const GrammarText& grammar);

  /// The same grammar for another reply.
  Grammar from_its_start() const;

  /// Whether each of the vocabulary's ids may come next. The end is among them where the reply may end.
  std::span<const bool> allowed();
  /// Takes in a token; throws invalid_input when it may not come next.
  void accept(int32_t token);
  /// Forgets the last tokens.
  void rewind(int64_t tokens);
  void restart();
  /// Whether nothing can follow.
  bool complete() const;

 private:
  struct Handle;
  explicit Grammar(std::shared_ptr<Handle> handle) : handle_(std::move(handle)) {}
  std::shared_ptr<Handle> handle_;
};

}  // namespace salient::text
