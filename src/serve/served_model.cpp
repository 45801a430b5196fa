#include "serve/served_model.h"

#include <algorithm>

#include "core/error.h"

namespace salient::serve {

namespace {

std::shared_ptr<const model::Decoder> open_decoder(const std::filesystem::path& path) {
  return std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(path)));
}

std::optional<text::ChatTemplate> open_template(const checkpoint::Checkpoint& checkpoint) {
  try {
    return text::ChatTemplate(checkpoint.tokenizer_config, checkpoint.path.string());
  } catch (const core::Error& error) {
    if (error.kind() == core::ErrorKind::kUnsupported) return std::nullopt;
    throw;
  }
}

device::RunnerOptions runner_options(const ModelOptions& options, core::ThreadPool& packing_pool) {
  device::RunnerOptions result = options.runner;
  result.packing_pool = &packing_pool;
  result.context = options.context;
  return result;
}

generate::SchedulerOptions scheduler_options(runner::ModelRunner& runner, const ModelOptions& options) {
  generate::SchedulerOptions result{.context = options.context, .most_running = options.parallel};
  const int64_t page_tokens = runner.new_sequence().pool()->page_tokens();
  const auto page_bytes = static_cast<uint64_t>(page_tokens * runner.kv_bytes_per_token());
  const int64_t context = options.context > 0 ? options.context : runner.spec().max_positions;
  // More than all sequences at their longest, and as much again for coming prompts, is never needed.
  const int64_t useful = 2 * options.parallel * ((context + page_tokens - 1) / page_tokens + 1);
  const uint64_t bytes = options.kv_bytes > 0 ? options.kv_bytes : runner.available_memory() / 2;
  const int64_t most = runner.most_kv_tokens() / page_tokens;
  result.most_pages = std::min({useful, most, static_cast<int64_t>(bytes / page_bytes)});
  if (result.most_pages < 1) {
    core::fail(core::ErrorKind::kOutOfMemory, "keys and values may take {}, but {} tokens of them take {}",
               core::format_bytes(bytes), page_tokens, core::format_bytes(page_bytes));
  }
  return result;
}

}  // namespace

ServedModel::ServedModel(const std::filesystem::path& path, core::ThreadPool& pool, core::ThreadPool& packing_pool,
                         const ModelOptions& options)
    : decoder(open_decoder(path)),
      tokenizer(decoder->checkpoint().tokenizer_json, decoder->checkpoint().path.string()),
      chat_template(open_template(decoder->checkpoint())),
      opened(device::open_runner(decoder, pool, runner_options(options, packing_pool))),
      runner(*opened.runner),
      grammars(decoder->checkpoint().tokenizer_json, runner.spec().vocab_size, decoder->checkpoint().path.string()),
      scheduler(runner, tokenizer, pool, scheduler_options(runner, options)) {}

}  // namespace salient::serve
