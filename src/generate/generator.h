#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "generate/stop_strings.h"
#include "generate/token_generator.h"
#include "text/decode_stream.h"

namespace salient::generate {

/// What a reply was and what it cost.
struct Reply {
  std::string text;
  std::vector<int32_t> ids;  ///< the token that ended the reply not included
  FinishReason finish = FinishReason::kStop;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  ///< of the prompt, already in the sequence from the turn before
  int64_t drafted_tokens = 0;
  int64_t accepted_tokens = 0;  ///< drafted, and chosen when it was their turn: each saved a forward pass
  double prompt_seconds = 0;
  double generate_seconds = 0;
  std::vector<LogProbabilities> log_probabilities;  ///< of each of `ids`, where the options ask for them
  std::vector<float> embedding;                     ///< of the prompt, where a Scheduler is asked for it

  /// Tokens a second after the first one, whose logits came with the prompt.
  double tokens_per_second() const;
};

/// Receives the reply as it grows, in pieces of whole UTF-8 characters.
using PieceCallback = std::function<void(std::string_view piece)>;

/// Writes replies as text, one sequence at a time. Runner and tokenizer must outlive it.
class Generator {
 public:
  Generator(runner::Runner& runner, const text::Tokenizer& tokenizer, GenerateOptions options);

  /// What a prompt shares with the prompt and reply before it is not computed again. Throws as TokenGenerator::append
  /// does. A stop request ends the reply after the token in work.
  Reply reply(std::span<const int32_t> prompt, const PieceCallback& on_piece, std::stop_token stop = {});

  // The same in steps.

  /// Appends a prompt; see TokenGenerator::append.
  bool append(std::span<const int32_t> tokens, const std::stop_token& stop = {});
  /// The next token, and in `piece` the text that is certain with it; at the end of the reply, all that is left.
  ChosenToken next(std::string& piece);
  /// The same, added to a reply; returns the piece.
  std::string next_into(Reply& reply);
  /// See TokenGenerator::rewind. Text that was held back for a character or a stop string is forgotten.
  void rewind(int64_t length);
  /// Nothing while the reply goes on.
  std::optional<FinishReason> finish() const;

  TokenGenerator& tokens() { return generator_; }
  const TokenGenerator& tokens() const { return generator_; }

 private:
  const text::Tokenizer& tokenizer_;
  TokenGenerator generator_;
  text::DecodeStream stream_;
  StopStrings stop_strings_;
};

}  // namespace salient::generate
