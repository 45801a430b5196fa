#include "api/calibration.h"

#include <algorithm>
#include <limits>

#include "api/calibration_documents.h"
#include "api/locate.h"
#include "api/monitor.h"
#include "api/run_options.h"
#include "core/error.h"
#include "generate/self_text.h"
#include "hub/named_text.h"
#include "hub/registry.h"
#include "runner/cpu_runner.h"

namespace salient::api {

namespace {

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

/// The sequences of a named set, a file or a folder.
std::vector<std::vector<int32_t>> read_calibration(const QuantizeOptions& options,
                                                   const checkpoint::Checkpoint& checkpoint, const Monitor& monitor) {
  const hub::KnownText* known = hub::find_known_text(options.calibration);
  const bool named = known && known->calibration;
  const auto documents =
      list_documents(named ? hub::locate_text(options.calibration, options.data_dir, monitor.on_progress, monitor.stop)
                           : std::filesystem::path(options.calibration));
  DocumentEncoder encoder(checkpoint);
  if (documents.size() == 1 && documents[0].line == 0) {
    auto sequences = cut(encoder.encode(documents[0]), options.calibration_sequences, options.calibration_tokens);
    say(monitor, "calibration: {} sequences of {} tokens from {}", sequences.size(),
        sequences.empty() ? 0 : sequences.front().size(), options.calibration);
    return sequences;
  }
  const int64_t most = std::numeric_limits<int64_t>::max() / options.calibration_tokens;
  auto sequences =
      choose_documents(documents.size(),
                       {.tokens = std::min(options.calibration_sequences, most) * options.calibration_tokens,
                        .sequence_tokens = options.calibration_tokens,
                        .seed = options.seed},
                       [&](size_t i) { return encoder.encode(documents[i]); });
  int64_t tokens = 0;
  for (const auto& sequence : sequences) tokens += std::ssize(sequence);
  say(monitor,
      "calibration: {} tokens, {} documents or parts of them out of {}, each attending to itself only, from {}", tokens,
      sequences.size(), documents.size(), options.calibration);
  return sequences;
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
  return read_calibration(options, decoder->checkpoint(), monitor);
}

}  // namespace salient::api
