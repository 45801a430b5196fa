#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "device/open_runner.h"
#include "generate/grammar_compiler.h"
#include "generate/scheduler.h"
#include "model/decoder.h"
#include "runner/model_runner.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace salient::serve {

/// How models are run.
struct ModelOptions {
  device::RunnerOptions runner;
  int64_t context = 0;    ///< 0: what the model was trained for
  int64_t parallel = 16;  ///< replies in one step
  uint64_t kv_bytes = 0;  ///< for keys and values; 0: half of the device's memory that is free once the model is loaded
};

/// A model in memory. The engine's thread steps the scheduler; all the rest may be used from any thread.
struct ServedModel {
  /// `pool` is for its replies, `packing_pool` for this constructor alone. Throws Error when the model cannot be
  /// opened.
  ServedModel(const std::filesystem::path& path, core::ThreadPool& pool, core::ThreadPool& packing_pool,
              const ModelOptions& options);

  std::shared_ptr<const model::Decoder> decoder;
  text::Tokenizer tokenizer;
  std::optional<text::ChatTemplate> chat_template;  ///< none: not a chat model
  device::OpenedRunner opened;
  runner::ModelRunner& runner;
  generate::GrammarCompiler grammars;
  generate::Scheduler scheduler;
};

}  // namespace salient::serve
