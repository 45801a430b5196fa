#include "generate/batch.h"

#include <utility>

#include "core/error.h"

namespace salient::generate {

namespace {

/// Gives every generator that goes on the logits of its next token, in one forward pass.
void compute_together(runner::Runner& runner, std::span<Generator> generators) {
  std::vector<runner::TokenRun> runs;
  std::vector<TokenGenerator*> waiting;
  for (Generator& generator : generators) {
    if (generator.finish()) continue;
    if (const auto run = generator.tokens().prepare()) {
      runs.push_back(*run);
      waiting.push_back(&generator.tokens());
    }
  }
  if (runs.empty()) return;
  // All of them have the same options.
  if (const int64_t top_count = waiting.front()->top_needed(); top_count > 0) {
    auto rows = runner.top_logits(runs, top_count);
    for (size_t i = 0; i < waiting.size(); ++i) waiting[i]->take_top_logits({std::move(rows[i])});
    return;
  }
  const std::vector<float> logits = runner.forward(runs);
  const int64_t size = runner.spec().vocab_size;
  auto row = logits.begin();
  for (TokenGenerator* generator : waiting) {
    generator->take_logits({row, row + size});
    row += size;
  }
}

}  // namespace

std::vector<Reply> reply_to_batch(runner::Runner& runner, const text::Tokenizer& tokenizer,
                                  std::span<const std::vector<int32_t>> prompts, const GenerateOptions& options,
                                  const BatchPieceCallback& on_piece, std::stop_token stop) {
  if (options.mask) core::fail(core::ErrorKind::kUnsupported, "a batch cannot follow a grammar");
  GenerateOptions plain = options;
  // A draft costs a batch more than it saves: its other sequences fill the same forward pass.
  plain.speculation = Speculation::kOff;
  std::vector<Generator> generators;
  std::vector<Reply> replies(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    generators.emplace_back(runner, tokenizer, plain);
    generators[i].append(prompts[i], stop);
    replies[i].prompt_tokens = std::ssize(prompts[i]);
  }
  for (bool goes_on = true; goes_on && !stop.stop_requested();) {
    compute_together(runner, generators);
    goes_on = false;
    for (size_t i = 0; i < prompts.size(); ++i) {
      if (generators[i].finish()) continue;
      const std::string piece = generators[i].next_into(replies[i]);
      if (!piece.empty() && on_piece) on_piece(i, piece);
      goes_on = goes_on || !generators[i].finish();
    }
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    replies[i].finish = generators[i].finish().value_or(FinishReason::kCancelled);
  }
  return replies;
}

}  // namespace salient::generate
