#include "generate/grammar_compiler.h"

#include <utility>

#include "core/error.h"

namespace salient::generate {

GrammarCompiler::GrammarCompiler(std::string_view tokenizer_json, int64_t vocab_size, std::string origin)
    : tokenizer_json_(tokenizer_json), vocab_size_(vocab_size), origin_(std::move(origin)) {}

text::GrammarVocabulary GrammarCompiler::vocabulary(int32_t end) {
  const std::lock_guard lock(mutex_);
  auto known = vocabularies_.find(end);
  if (known == vocabularies_.end()) {
    known = vocabularies_.emplace(end, text::GrammarVocabulary(tokenizer_json_, vocab_size_, end, origin_)).first;
  }
  return known->second;
}

std::shared_ptr<GrammarMask> GrammarCompiler::compile(const text::GrammarText& grammar,
                                                      const std::vector<int32_t>& ends) {
  if (ends.empty() || ends.front() < 0 || ends.front() >= vocab_size_) {
    core::fail(core::ErrorKind::kUnsupported, "{}: names no token that ends a reply, which a grammar needs", origin_);
  }
  return std::make_shared<GrammarMask>(text::Grammar(vocabulary(ends.front()), grammar), ends);
}

}  // namespace salient::generate
