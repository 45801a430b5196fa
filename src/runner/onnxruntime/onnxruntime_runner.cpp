#include "runner/onnxruntime/onnxruntime_runner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/os.h"
#include "runner/onnxruntime/onnxruntime_kv_cache.h"
#include "runner/onnxruntime/onnxruntime_session.h"
#include "runner/token_runs.h"
#include "runner/weight_bytes.h"

namespace salient::runner {

namespace {

using core::ErrorKind;
using core::fail;

}  // namespace

struct OnnxRuntimeRunner::Parts {
  std::shared_ptr<const ort::DecoderSession> session;
  std::shared_ptr<OnnxRuntimeKvCache> cache;
};

OnnxRuntimeRunner::OnnxRuntimeRunner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool,
                                     OnnxRuntimeRunnerOptions options)
    : decoder_(std::move(decoder)), pool_(pool), options_(std::move(options)) {
  check_options();
  auto session = std::make_shared<const ort::DecoderSession>(*decoder_, *options_.provider, pool_.size());
  const int64_t context = options_.context > 0 ? options_.context : spec().max_positions;
  parts_ = std::make_unique<Parts>(Parts{session, std::make_shared<OnnxRuntimeKvCache>(session, context)});
  bytes_per_token_ = static_cast<int64_t>(weight_bytes(*decoder_, HeadPrecision::kStored));
  decoder_->checkpoint().release_pages();
}

OnnxRuntimeRunner::~OnnxRuntimeRunner() = default;

void OnnxRuntimeRunner::check_options() const {
  const std::string origin = decoder_->checkpoint().path.string();
  if (options_.kv_dtype == core::DType::kI8) {
    fail(ErrorKind::kUnsupported, "{}: with {} keys and values are what the graph has: they cannot be int8", origin,
         device());
  }
  if (options_.head != HeadPrecision::kStored) {
    fail(ErrorKind::kUnsupported, "{}: with {} the head is what the graph has: it cannot be rounded", origin, device());
  }
  if (options_.exact && activations() == Activations::kInt8) {
    fail(ErrorKind::kUnsupported,
         "{}: its graph allows activations in int8 (accuracy_level 4), so {} cannot be exact: export the model with "
         "--accuracy-level 0",
         origin, device());
  }
}

std::string OnnxRuntimeRunner::device_description() const {
  const std::string library = fmt::format("ONNX Runtime {}, {}", ort::library().version(), options_.provider->name);
  if (device() == "ort-cpu") {
    return fmt::format("{}, {} thread{}", library, pool_.size(), pool_.size() == 1 ? "" : "s");
  }
  const auto& rest = parts_->session->operators_on_cpu();
  return rest.empty() ? library : fmt::format("{}, but for {} on the CPU", library, fmt::join(rest, ", "));
}

Activations OnnxRuntimeRunner::activations() const {
  const auto& folder = decoder_->checkpoint().onnx;
  return folder && folder->rounds_activations ? Activations::kInt8 : Activations::kFp32;
}

core::DType OnnxRuntimeRunner::kv_dtype() const {
  return parts_->session->kv_dtype();
}

Sequence OnnxRuntimeRunner::new_sequence() {
  return Sequence(parts_->cache);
}

int64_t OnnxRuntimeRunner::kv_bytes_per_token() const {
  return 2 * spec().layers * spec().kv_heads * parts_->session->kv_row_bytes();
}

uint64_t OnnxRuntimeRunner::available_memory() const {
  return core::os::available_memory();
}

std::vector<float> OnnxRuntimeRunner::forward(std::span<const TokenRun> runs) {
  check_tokens(spec(), runs);
  return keep_lengths_on_failure(runs, [&] {
    std::vector<float> logits;
    for (const TokenRun& run : runs) {
      if (!run.tokens.empty()) append(run, logits);
    }
    return logits;
  });
}

/// DirectML's attention sees all earlier tokens, whatever window its operator is given.
void OnnxRuntimeRunner::check_window(int64_t total) const {
  if (!options_.provider->is_directml()) return;
  for (const model::LayerAttention& attention : spec().attention) {
    if (attention.window == 0 || total <= attention.window) continue;
    fail(ErrorKind::kUnsupported,
         "the text has {} tokens, and a token of this model sees {} of them: DirectML's attention has no such window, "
         "so texts there end at {} tokens",
         total, attention.window, attention.window);
  }
}

void OnnxRuntimeRunner::append(const TokenRun& run, std::vector<float>& logits) {
  Sequence& sequence = *run.sequence;
  const int64_t start = sequence.length();
  const int64_t total = start + std::ssize(run.tokens);
  OnnxRuntimeKvCache& cache = *parts_->cache;
  if (total > cache.page_tokens()) {
    fail(ErrorKind::kInvalidInput, "the text has {} tokens, more than the {} that the context holds", total,
         cache.page_tokens());
  }
  check_window(total);
  sequence.extend(std::ssize(run.tokens));
  OnnxRuntimeKvCache::Page& page = cache.page(sequence.pages().front());
  page.tokens.resize(static_cast<size_t>(start));
  page.tokens.insert(page.tokens.end(), run.tokens.begin(), run.tokens.end());
  page.computed = std::min(page.computed, start);
  const bool is_long = spec().is_long(std::max(run.final_length, total));
  if (is_long != sequence.long_rope()) {
    page.computed = 0;
    sequence.set_long_rope(is_long);
    if (start > 0 && options_.progress) {
      options_.progress({"computing the context again for its new length", 0, start, "tokens", {}});
    }
  }
  // A graph chooses the rotary regime by the length it sees, so the parts of a longer text wait for one another.
  const int64_t least = is_long ? spec().original_positions() + 1 : 0;
  if (total < least && run.wanted == Wanted::kNothing) return;
  const int64_t first_row = run.wanted == Wanted::kAllLogits    ? start
                            : run.wanted == Wanted::kLastLogits ? total - 1
                                                                : total;
  cache.compute(page, {total, least, first_row}, logits);
}

}  // namespace salient::runner
