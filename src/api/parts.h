#pragma once

#include <memory>
#include <mutex>
#include <salient/salient.hpp>
#include <span>
#include <utility>
#include <vector>

#include "core/thread_pool.h"
#include "device/open_runner.h"
#include "generate/grammar_compiler.h"
#include "model/decoder.h"
#include "runner/model_runner.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace salient {

struct Tokenizer::Parts {
  text::Tokenizer tokenizer;
};

struct ChatTemplate::Parts {
  text::ChatTemplate chat_template;
};

namespace api {

/// A runner that threads take turns with, one forward pass at a time.
class SharedRunner : public runner::Runner {
 public:
  explicit SharedRunner(runner::Runner& runner) : runner_(runner) {}

  const model::DecoderSpec& spec() const override { return runner_.spec(); }
  runner::Sequence new_sequence() override { return runner_.new_sequence(); }
  std::vector<float> forward(std::span<const runner::TokenRun> runs) override {
    const std::lock_guard lock(mutex_);
    return runner_.forward(runs);
  }
  int64_t most_top_logits() const override { return runner_.most_top_logits(); }
  std::vector<std::vector<runner::TokenLogit>> top_logits(std::span<const runner::TokenRun> runs,
                                                          int64_t count) override {
    const std::lock_guard lock(mutex_);
    return runner_.top_logits(runs, count);
  }

 private:
  runner::Runner& runner_;
  std::mutex mutex_;
};

}  // namespace api

/// What all copies of a model and its generators share.
struct Model::Parts {
  Parts(std::shared_ptr<const model::Decoder> decoder, int threads, const device::RunnerOptions& options)
      : pool(threads),
        opened(device::open_runner(std::move(decoder), pool, options)),
        runner(*opened.runner),
        shared_runner(runner),
        grammars(checkpoint().tokenizer_json, runner.spec().vocab_size, checkpoint().path.string()) {}

  const checkpoint::Checkpoint& checkpoint() const { return runner.decoder().checkpoint(); }
  /// Opened when it is first asked for. Throws not_found when the model has none.
  std::shared_ptr<const Tokenizer::Parts> tokenizer();

  core::ThreadPool pool;
  device::OpenedRunner opened;
  runner::ModelRunner& runner;
  api::SharedRunner shared_runner;  ///< the same, for generators in several threads
  generate::GrammarCompiler grammars;

 private:
  std::mutex tokenizer_mutex_;
  std::shared_ptr<const Tokenizer::Parts> tokenizer_;
};

}  // namespace salient
