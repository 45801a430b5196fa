#include "api/calibration.h"

#include <algorithm>

#include "api/locate.h"
#include "api/monitor.h"
#include "api/run_options.h"
#include "core/error.h"
#include "core/folder.h"
#include "core/mapped_file.h"
#include "generate/self_text.h"
#include "hub/named_text.h"
#include "runner/cpu_runner.h"
#include "text/tokenizer.h"

namespace salient::api {

namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  const core::MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

/// The text of a named set, a file, or all .txt and .md files of a folder.
std::string read_calibration_text(const QuantizeOptions& options, const Monitor& monitor) {
  if (options.calibration == "wikitext2-train") {
    return read_file(hub::locate_text(options.calibration, options.data_dir, monitor.on_progress, monitor.stop));
  }
  if (!fs::is_directory(options.calibration)) return read_file(options.calibration);
  std::error_code error;
  std::string text;
  for (const fs::path& path : core::files_below(options.calibration, error)) {
    if (path.extension() == ".txt" || path.extension() == ".md") text += read_file(path) + "\n\n";
  }
  if (error) core::fail(core::ErrorKind::kInvalidInput, "{}: cannot be read: {}", options.calibration, error.message());
  if (text.empty()) core::fail(core::ErrorKind::kInvalidInput, "{}: has no .txt or .md files", options.calibration);
  return text;
}

/// Cuts a text into sequences and takes as many as are wanted, evenly over its length.
std::vector<std::vector<int32_t>> cut(const std::vector<int32_t>& ids, int64_t sequences, int64_t tokens) {
  std::vector<std::vector<int32_t>> result;
  const int64_t available = std::ssize(ids) / tokens;
  const int64_t count = std::min(available, sequences);
  for (int64_t i = 0; i < count; ++i) {
    const auto first = ids.begin() + i * available / count * tokens;
    result.emplace_back(first, first + tokens);
  }
  if (result.empty() && !ids.empty()) result.push_back(ids);
  return result;
}

}  // namespace

std::vector<std::vector<int32_t>> make_calibration(const QuantizeOptions& options,
                                                   const std::shared_ptr<const model::Decoder>& decoder,
                                                   core::ThreadPool& pool, const Monitor& monitor) {
  if (options.calibration_tokens > decoder->spec().max_positions) {
    core::fail(core::ErrorKind::kInvalidInput, "{}: its context holds {} tokens, but --calibration-tokens is {}",
               decoder->checkpoint().path.string(), decoder->spec().max_positions, options.calibration_tokens);
  }
  if (options.calibration.empty()) {
    runner::CpuRunner runner(decoder, pool);
    say(monitor, "{}", describe_run(runner));
    say(monitor, "no --calibration given: the model writes {} x {} tokens itself, in one batch, at temperature 1",
        options.calibration_sequences, options.calibration_tokens);
    return generate::write_self_text(runner,
                                     {.sequences = options.calibration_sequences,
                                      .tokens = options.calibration_tokens,
                                      .seed = options.seed,
                                      .first_token = begin_of_sequence(*decoder).value_or(0)},
                                     monitor.on_progress, monitor.stop);
  }
  const text::Tokenizer tokenizer = open_tokenizer(decoder->checkpoint());
  const auto calibration = cut(tokenizer.encode(read_calibration_text(options, monitor), true),
                               options.calibration_sequences, options.calibration_tokens);
  say(monitor, "calibration: {} sequences of {} tokens from {}", calibration.size(),
      calibration.empty() ? 0 : calibration.front().size(), options.calibration);
  return calibration;
}

}  // namespace salient::api
