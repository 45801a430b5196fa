#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include "generate/generator.h"

namespace salient::generate {

/// Receives the replies of a batch as they grow; `index` is that of the prompt.
using BatchPieceCallback = std::function<void(size_t index, std::string_view piece)>;

/// The replies to several prompts, whose tokens go through the model together. Each is the reply that its prompt alone
/// gets. Throws as TokenGenerator::append does. A stop request ends all replies after the tokens in work; those that
/// had not ended are cancelled.
std::vector<Reply> reply_to_batch(runner::Runner& runner, const text::Tokenizer& tokenizer,
                                  std::span<const std::vector<int32_t>> prompts, const GenerateOptions& options,
                                  const BatchPieceCallback& on_piece, std::stop_token stop);

}  // namespace salient::generate
