#include <atomic>
#include <utility>

#include "api/config.h"
#include "api/parts.h"
#include "api/use.h"
#include "core/error.h"
#include "generate/batch.h"
#include "generate/beam_search.h"

namespace salient {

struct Generator::Parts {
  Parts(std::shared_ptr<Model::Parts> of_model, const GenerationConfig& config)
      : model(std::move(of_model)),
        tokenizer(model->tokenizer()),
        generator(model->shared_runner, tokenizer->tokenizer, options_of(*model, config)) {}

  static generate::GenerateOptions options_of(Model::Parts& model, const GenerationConfig& config) {
    generate::GenerateOptions options = api::to_options(config);
    if (config.grammar) {
      options.mask = model.grammars.compile({config.grammar->kind, config.grammar->text},
                                            options.ends.value_or(model.runner.spec().end_of_sequence));
    }
    return options;
  }

  std::shared_ptr<Model::Parts> model;
  std::shared_ptr<const Tokenizer::Parts> tokenizer;
  generate::Generator generator;
  std::atomic<bool> in_use = false;
};

namespace {

/// For what goes through the model together.
void refuse_grammar(const GenerationConfig& config, const char* what) {
  if (config.grammar) core::fail(core::ErrorKind::kUnsupported, "{} cannot follow a grammar", what);
}

}  // namespace

Generator::Generator(const Model& model, const GenerationConfig& config)
    : parts_(std::make_unique<Parts>(model.parts(), config)) {}
Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;

void Generator::append_tokens(std::span<const int32_t> tokens, std::stop_token stop) {
  const api::Use use(parts_->in_use);
  if (parts_->generator.append(tokens, stop)) return;
  core::fail(core::ErrorKind::kCancelled, "stopped while the prompt was read");
}

Token Generator::next_token() {
  const api::Use use(parts_->in_use);
  const size_t length = parts_->generator.tokens().tokens().size();
  Token token;
  const generate::ChosenToken chosen = parts_->generator.next(token.text);
  token.id = chosen.id;
  token.ends_reply = parts_->generator.tokens().tokens().size() == length;
  if (chosen.log_probabilities) {
    token.log_probability = chosen.log_probabilities->chosen.log_probability;
    for (const auto& likely : chosen.log_probabilities->top)
      token.top_log_probabilities.push_back(api::convert(likely));
  }
  return token;
}

bool Generator::is_done() const {
  const api::Use use(parts_->in_use);
  return parts_->generator.finish().has_value();
}

FinishReason Generator::finish_reason() const {
  const api::Use use(parts_->in_use);
  if (const auto reason = parts_->generator.finish()) return api::convert(*reason);
  core::fail(core::ErrorKind::kInvalidInput, "the reply has not ended, so there is no reason");
}

std::vector<int32_t> Generator::tokens() const {
  const api::Use use(parts_->in_use);
  return parts_->generator.tokens().tokens();
}

int64_t Generator::token_count() const {
  const api::Use use(parts_->in_use);
  return std::ssize(parts_->generator.tokens().tokens());
}

void Generator::rewind_to(int64_t length) {
  const api::Use use(parts_->in_use);
  parts_->generator.rewind(length);
}

std::vector<float> Generator::logits() {
  const api::Use use(parts_->in_use);
  const std::span<const float> row = parts_->generator.tokens().logits();
  return {row.begin(), row.end()};
}

void Generator::set_logits(std::span<const float> logits) {
  const api::Use use(parts_->in_use);
  parts_->generator.tokens().set_logits(logits);
}

Reply Generator::reply(std::span<const int32_t> prompt, const PieceCallback& on_piece, std::stop_token stop) {
  const api::Use use(parts_->in_use);
  return api::convert(parts_->generator.reply(prompt, on_piece, std::move(stop)));
}

std::vector<Reply> v1::generate_batch(const Model& model, std::span<const std::vector<int32_t>> prompts,
                                      const GenerationConfig& config, const BatchPieceCallback& on_piece,
                                      std::stop_token stop) {
  refuse_grammar(config, "a batch");
  const std::shared_ptr<const Tokenizer::Parts> tokenizer = model.parts()->tokenizer();
  std::vector<Reply> replies;
  for (generate::Reply& reply : generate::reply_to_batch(model.parts()->shared_runner, tokenizer->tokenizer, prompts,
                                                         api::to_options(config), on_piece, std::move(stop))) {
    replies.push_back(api::convert(std::move(reply)));
  }
  return replies;
}

std::vector<BeamReply> v1::beam_search(const Model& model, std::span<const int32_t> prompt, const BeamOptions& options,
                                       const GenerationConfig& config, std::stop_token stop) {
  refuse_grammar(config, "a beam search");
  const generate::GenerateOptions general = api::to_options(config);
  const generate::BeamOptions beam_options = {.beams = options.num_beams,
                                              .sequences = options.num_return_sequences,
                                              .length_penalty = options.length_penalty,
                                              .early_stopping = options.early_stopping,
                                              .max_tokens = general.max_tokens,
                                              .context = general.context,
                                              .min_length = general.min_length,
                                              .repetition_penalty = general.sampling.repetition_penalty,
                                              .no_repeat_ngram_size = general.sampling.no_repeat_ngram_size,
                                              .count_prompt = options.count_prompt,
                                              .ends = general.ends};
  const Tokenizer tokenizer = model.tokenizer();
  std::vector<BeamReply> replies;
  for (generate::Beam& beam : generate::search_beams(model.parts()->shared_runner, prompt, beam_options, stop)) {
    replies.push_back(
        {tokenizer.decode(beam.ids), beam.ids, beam.score, beam.ended ? FinishReason::kStop : FinishReason::kLength});
  }
  return replies;
}

}  // namespace salient
