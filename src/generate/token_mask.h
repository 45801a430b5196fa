#pragma once

#include <cstdint>
#include <span>

namespace salient::generate {

/// What a reply may be, token by token: a grammar, say. One of these follows one reply.
class TokenMask {
 public:
  virtual ~TokenMask() = default;
  /// Another reply begins.
  virtual void restart() = 0;
  /// Puts minus infinity where a token may not come next. A token that ends the reply is left where it may end.
  virtual void apply(std::span<float> logits) = 0;
  /// Takes in the token that came next.
  virtual void accept(int32_t token) = 0;
  /// Forgets the last `tokens` tokens.
  virtual void rewind(int64_t tokens) = 0;
  /// Whether the reply is complete, and nothing can follow.
  virtual bool complete() = 0;
};

}  // namespace salient::generate
