#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "generate/grammar_mask.h"
#include "text/grammar.h"

namespace salient::generate {

/// Compiles grammars for the replies of one model. Its functions may be called from any thread.
class GrammarCompiler {
 public:
  /// For a model of `vocab_size` ids with this tokenizer.json, which must outlive it. `origin` is what errors call it.
  GrammarCompiler(std::string_view tokenizer_json, int64_t vocab_size, std::string origin);

  /// What keeps a reply that ends with one of `ends` to a grammar. Throws invalid_input for one that cannot be
  /// compiled, and unsupported when the tokenizer, or a model without ends, does not allow any.
  std::shared_ptr<GrammarMask> compile(const text::GrammarText& grammar, const std::vector<int32_t>& ends);

 private:
  text::GrammarVocabulary vocabulary(int32_t end);

  std::string_view tokenizer_json_;
  int64_t vocab_size_;
  std::string origin_;
  std::mutex mutex_;
  std::map<int32_t, text::GrammarVocabulary> vocabularies_;  ///< by the token that ends a reply
};

}  // namespace salient::generate
