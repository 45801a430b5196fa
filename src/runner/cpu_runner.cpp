#include "runner/cpu_runner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/os.h"
#include "runner/token_runs.h"

namespace salient::runner {

namespace {

/// Tokens that go through the layers together: enough to use each weight many times, few enough for small buffers.
constexpr int64_t kBatchTokens = 512;

}  // namespace

std::string describe_kernels() {
  std::string text = fmt::format("{} kernels", kernels::active_kernels().name);
  std::vector<const char*> vector_sets = kernels::kernel_names();
  vector_sets.pop_back();  // the scalar one
  if (std::none_of(vector_sets.begin(), vector_sets.end(), kernels::find_kernels)) {
    text += fmt::format(" (many times slower than others: this CPU runs none of {})", fmt::join(vector_sets, ", "));
  }
  return text;
}

CpuRunner::CpuRunner(std::shared_ptr<const model::Decoder> decoder, core::ThreadPool& pool, CpuRunnerOptions options)
    : decoder_(std::move(decoder)),
      pool_(pool),
      options_(std::move(options)),
      embeddings_(decoder_->embeddings()),
      final_norm_(decoder_->final_norm()),
      rounded_head_(choose_head_groups(*decoder_, options_.head)),
      executor_(decoder_->spec(), pool),
      head_stage_(pool) {
  const bool resident = options_.residency == Residency::kResident;
  cache_ =
      std::make_shared<CpuKvCache>(resident ? spec().layers : 1, spec().kv_heads, spec().head_dim, options_.kv_dtype);
  core::ThreadPool& packing_pool = options_.packing_pool ? *options_.packing_pool : pool_;
  options_.packing_pool = nullptr;  // it may be gone once this is made
  if (!resident) return;
  // The largest matrix comes first, while the least memory is taken.
  pack_head(packing_pool);
  for (int64_t i = 0; i < spec().layers; ++i) {
    layers_.push_back(std::make_shared<CpuLayer>(decoder_->layer(i), spec().attention[i], options_.activations,
                                                 packing_pool, arena_));
    decoder_->checkpoint().release_pages();
    if (options_.progress) options_.progress({"loading", i + 1, spec().layers, "layers", {}});
  }
}

void CpuRunner::pack_head(core::ThreadPool& pool) {
  head_.emplace(rounded_head_ ? round_head(*decoder_, *rounded_head_) : decoder_->head(), options_.activations, pool,
                arena_);
  decoder_->checkpoint().release_pages();
}

std::string CpuRunner::device_description() const {
  return fmt::format("{}, {} thread{}", describe_kernels(), pool_.size(), pool_.size() == 1 ? "" : "s");
}

Sequence CpuRunner::new_sequence() {
  return Sequence(cache_);
}

int64_t CpuRunner::bytes_per_token() const {
  int64_t bytes = head_ ? head_->packed_bytes() : 0;
  for (const auto& layer : layers_) bytes += layer->packed_bytes();
  return bytes;
}

uint64_t CpuRunner::available_memory() const {
  return core::os::available_memory();
}

void CpuRunner::embed(std::span<const int32_t> tokens, float* out) const {
  for (const int32_t token : tokens) {
    embeddings_.read_rows(token, 1, out);
    if (spec().embedding_scale != 1) {
      for (int64_t i = 0; i < spec().hidden_size; ++i) out[i] *= spec().embedding_scale;
    }
    out += spec().hidden_size;
  }
}

std::shared_ptr<const CpuLayer> CpuRunner::layer(int64_t index) {
  if (!layers_.empty()) return layers_[index];
  struct Streamed {
    core::Arena arena;
    std::optional<CpuLayer> layer;
  };
  const auto streamed = std::make_shared<Streamed>();
  streamed->layer.emplace(decoder_->layer(index), spec().attention[index], options_.activations, pool_,
                          streamed->arena);
  return {streamed, &*streamed->layer};
}

BatchSlice CpuRunner::make_slice(const Sequence& sequence, int64_t first_row, int64_t first_position, int64_t tokens) {
  BatchSlice slice{first_row, tokens, first_position, sequence.long_rope(), {}};
  for (const int32_t page : sequence.pages()) slice.pages.push_back(cache_->page(page));
  executor_.prepare_positions(first_position + tokens);
  return slice;
}

void CpuRunner::run_layer(const CpuLayer& layer, std::span<const LayerRun> runs, float* hidden,
                          const LinearObserver& observer) {
  std::vector<BatchSlice> slices;
  int64_t rows = 0;
  for (const LayerRun& run : runs) {
    const int64_t first_position = run.sequence->length();
    if (first_position == 0) run.sequence->set_long_rope(spec().is_long(run.tokens));
    run.sequence->extend(run.tokens);
    slices.push_back(make_slice(*run.sequence, rows, first_position, run.tokens));
    rows += run.tokens;
  }
  executor_.run(layer, *cache_, 0, slices, rows, hidden, observer);
}

void CpuRunner::run_layer(const CpuLayer& layer, Sequence& sequence, int64_t tokens, float* hidden,
                          const LinearObserver& observer) {
  const LayerRun run{&sequence, tokens};
  run_layer(layer, std::span(&run, 1), hidden, observer);
}

std::vector<float> CpuRunner::normalize(const float* hidden, int64_t tokens) const {
  const int64_t size = spec().hidden_size;
  std::vector<float> normed(tokens * size);
  const kernels::KernelSet& kernels = kernels::active_kernels();
  for (int64_t i = 0; i < tokens * size; i += size) {
    if (final_norm_.bias.empty()) {
      kernels.rms_norm(hidden + i, final_norm_.weight.data(), spec().norm_epsilon, size, &normed[i]);
    } else {
      kernels.layer_norm(hidden + i, final_norm_.weight.data(), final_norm_.bias.data(), spec().norm_epsilon, size,
                         &normed[i]);
    }
  }
  return normed;
}

void CpuRunner::head(const float* hidden, int64_t tokens, float* logits) {
  if (!head_) pack_head(pool_);
  const std::vector<float> normed = normalize(hidden, tokens);
  const kernels::KernelSet& kernels = kernels::active_kernels();
  head_stage_.run(normed.data(), tokens, {{&*head_, logits, spec().vocab_size}});
  if (spec().logit_soft_cap > 0) {
    pool_.split(tokens, [&](int64_t begin, int64_t end) {
      kernels.soft_cap(logits + begin * spec().vocab_size, (end - begin) * spec().vocab_size, spec().logit_soft_cap);
    });
  }
}

int64_t CpuRunner::append(Batch& batch, const TokenRun& run, int64_t done) {
  const int64_t total = std::ssize(run.tokens);
  const int64_t count = std::min(total - done, kBatchTokens - batch.tokens);
  const int64_t position = run.sequence->length();
  run.sequence->extend(count);
  batch.slices.push_back(make_slice(*run.sequence, batch.tokens, position, count));
  batch.hidden.resize((batch.tokens + count) * spec().hidden_size);
  embed(run.tokens.subspan(done, count), &batch.hidden[batch.tokens * spec().hidden_size]);
  if (run.wanted == Wanted::kAllLogits) batch.wanted.push_back({batch.tokens, count});
  if (run.wanted == Wanted::kLastLogits && done + count == total) {
    batch.wanted.push_back({batch.tokens + count - 1, 1});
  }
  batch.tokens += count;
  return count;
}

void CpuRunner::finish(Batch& batch, std::vector<float>& wanted_hidden) {
  for (int64_t i = 0; i < spec().layers; ++i) {
    executor_.run(*layers_[i], *cache_, i, batch.slices, batch.tokens, batch.hidden.data(), {});
  }
  const int64_t size = spec().hidden_size;
  for (const auto& [first, count] : batch.wanted) {
    const float* rows = &batch.hidden[first * size];
    wanted_hidden.insert(wanted_hidden.end(), rows, rows + count * size);
  }
  batch = {};
}

void CpuRunner::choose_regime(const TokenRun& run) {
  const std::vector<int32_t> history = enter_regime(spec(), run);
  for (int64_t done = 0; done < std::ssize(history);) {
    const int64_t count = std::min(std::ssize(history) - done, kBatchTokens);
    const TokenRun again{std::span(history).subspan(done, count), run.sequence, Wanted::kNothing};
    run_layers(std::span(&again, 1));
    done += count;
    if (options_.progress) {
      options_.progress({"computing the context again for its new length", done, std::ssize(history), "tokens", {}});
    }
  }
}

std::vector<float> CpuRunner::run_layers(std::span<const TokenRun> runs) {
  std::vector<float> wanted_hidden;
  Batch batch;
  for (const TokenRun& run : runs) {
    for (int64_t done = 0; done < std::ssize(run.tokens);) {
      done += append(batch, run, done);
      if (batch.tokens == kBatchTokens) finish(batch, wanted_hidden);
    }
  }
  if (batch.tokens > 0) finish(batch, wanted_hidden);
  if (spec().original_positions() > 0) {
    for (const TokenRun& run : runs) run.sequence->remember(run.tokens);
  }
  return wanted_hidden;
}

std::vector<float> CpuRunner::append_all(std::span<const TokenRun> runs) {
  if (layers_.empty()) core::fail(core::ErrorKind::kInternal, "forward needs a runner whose layers are resident");
  check_tokens(spec(), runs);
  for (const TokenRun& run : runs) choose_regime(run);
  return keep_lengths_on_failure(runs, [&] { return run_layers(runs); });
}

std::vector<float> CpuRunner::forward(std::span<const TokenRun> runs) {
  const std::vector<float> hidden = append_all(runs);
  const int64_t count = std::ssize(hidden) / spec().hidden_size;
  std::vector<float> logits(count * spec().vocab_size);
  if (count > 0) head(hidden.data(), count, logits.data());
  return logits;
}

std::vector<float> CpuRunner::hidden_states(std::span<const TokenRun> runs) {
  const std::vector<float> hidden = append_all(runs);
  return normalize(hidden.data(), std::ssize(hidden) / spec().hidden_size);
}

}  // namespace salient::runner
