#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "generate/token_mask.h"
#include "text/grammar.h"

namespace salient::generate {

/// Keeps a reply to a grammar.
class GrammarMask : public TokenMask {
 public:
  /// `ends` are the tokens that end a reply; the first of them is the vocabulary's end.
  GrammarMask(text::Grammar grammar, std::vector<int32_t> ends)
      : grammar_(std::move(grammar)), ends_(std::move(ends)) {}

  /// One for another reply to the same grammar.
  std::shared_ptr<GrammarMask> for_another_reply() const {
    return std::make_shared<GrammarMask>(grammar_.from_its_start(), ends_);
  }

  void restart() override { grammar_.restart(); }
  void apply(std::span<float> logits) override;
  void accept(int32_t token) override { grammar_.accept(token); }
  void rewind(int64_t tokens) override { grammar_.rewind(tokens); }
  bool complete() override { return grammar_.complete(); }

 private:
  text::Grammar grammar_;
  std::vector<int32_t> ends_;
};

}  // namespace salient::generate
