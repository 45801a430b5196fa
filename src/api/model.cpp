#include <nlohmann/json.hpp>

#include "api/locate.h"
#include "api/monitor.h"
#include "api/parts.h"
#include "api/run_options.h"
#include "core/error.h"

namespace salient {

namespace {

std::string dump(const nlohmann::json& document) {
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// A checkpoint's own template, or another with its special tokens.
ChatTemplate make_template(const checkpoint::Checkpoint& checkpoint, const std::optional<std::string>& source) {
  nlohmann::json config = checkpoint.tokenizer_config;
  if (source) config["chat_template"] = *source;
  return ChatTemplate(std::make_shared<ChatTemplate::Parts>(text::ChatTemplate(config, checkpoint.path.string())));
}

}  // namespace

std::shared_ptr<const Tokenizer::Parts> Model::Parts::tokenizer() {
  const std::lock_guard lock(tokenizer_mutex_);
  if (!tokenizer_) tokenizer_ = std::make_shared<Tokenizer::Parts>(api::open_tokenizer(checkpoint()));
  return tokenizer_;
}

Model::Model(const ModelName& name, const ModelOptions& options, const Monitor& monitor) {
  const device::RunnerOptions runner_options = api::runner_options(options, monitor);
  const int threads = api::checked_threads(options.threads);
  parts_ = std::make_shared<Parts>(api::open_decoder(name, monitor), threads, runner_options);
  if (!parts_->opened.reason.empty()) api::say(monitor, "{}", parts_->opened.reason);
  api::say(monitor, "{}", summary());
}

std::filesystem::path Model::path() const {
  return parts_->checkpoint().path;
}

std::string Model::format() const {
  return parts_->checkpoint().format;
}

std::string Model::family() const {
  return parts_->runner.spec().family;
}

std::string Model::arithmetic() const {
  return api::describe_arithmetic(parts_->runner);
}

std::string Model::device() const {
  return parts_->runner.device();
}

std::string Model::summary() const {
  return api::describe_run(parts_->runner);
}

int64_t Model::vocab_size() const {
  return parts_->runner.spec().vocab_size;
}

int64_t Model::context_length() const {
  return parts_->runner.spec().max_positions;
}

std::vector<int32_t> Model::end_tokens() const {
  return parts_->runner.spec().end_of_sequence;
}

std::optional<int32_t> Model::begin_token() const {
  return api::begin_of_sequence(parts_->runner.decoder());
}

std::string Model::config_json() const {
  return dump(parts_->checkpoint().config);
}

std::string Model::generation_config_json() const {
  return dump(parts_->checkpoint().generation_config);
}

std::string Model::tokenizer_config_json() const {
  return dump(parts_->checkpoint().tokenizer_config);
}

Tokenizer Model::tokenizer() const {
  return Tokenizer(parts_->tokenizer());
}

std::vector<float> Model::logits(std::span<const int32_t> tokens) const {
  if (tokens.empty() || std::ssize(tokens) > context_length()) {
    core::fail(core::ErrorKind::kInvalidInput, "{} tokens were given, expected 1 to {}, the model's context",
               tokens.size(), context_length());
  }
  runner::Sequence sequence = parts_->shared_runner.new_sequence();
  const runner::TokenRun run{tokens, &sequence, runner::Wanted::kAllLogits};
  return parts_->shared_runner.forward(std::span(&run, 1));
}

ChatTemplate Model::chat_template() const {
  return make_template(parts_->checkpoint(), {});
}

ChatTemplate::ChatTemplate(const Model& model, const std::string& source)
    : ChatTemplate(make_template(model.parts()->checkpoint(), source)) {}

ChatTemplate ChatTemplate::open(const ModelName& name, const std::optional<std::string>& source,
                                const Monitor& monitor) {
  return make_template(checkpoint::open_checkpoint(api::locate_model(name, monitor)), source);
}

Tokenizer Tokenizer::open(const ModelName& name, const Monitor& monitor) {
  const checkpoint::Checkpoint checkpoint = checkpoint::open_checkpoint(api::locate_model(name, monitor));
  return Tokenizer(std::make_shared<Parts>(api::open_tokenizer(checkpoint)));
}

}  // namespace salient
