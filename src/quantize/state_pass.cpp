#include "quantize/state_pass.h"

#include <utility>

#include "core/arena.h"
#include "core/error.h"

namespace salient::quantize {

namespace {

/// Tokens that go through a layer together: as many as GramAccumulator sums in one go.
constexpr int64_t kBatchTokens = 512;

/// As many texts together, in their order, as a batch has room for; a longer one is a batch of its own.
std::vector<std::span<const std::vector<int32_t>>> make_batches(std::span<const std::vector<int32_t>> texts) {
  std::vector<std::span<const std::vector<int32_t>>> batches;
  while (!texts.empty()) {
    size_t count = 1;
    int64_t tokens = std::ssize(texts[0]);
    while (count < texts.size() && tokens + std::ssize(texts[count]) <= kBatchTokens) {
      tokens += std::ssize(texts[count++]);
    }
    batches.push_back(texts.first(count));
    texts = texts.subspan(count);
  }
  return batches;
}

}  // namespace

StatePass::StatePass(std::shared_ptr<const model::Decoder> decoder, std::span<const std::vector<int32_t>> texts,
                     std::stop_token stop, core::ThreadPool& pool)
    : runner_(std::move(decoder), pool,
              {.activations = runner::Activations::kFp32, .residency = runner::Residency::kStreamed}),
      pool_(pool),
      batches_(make_batches(texts)),
      stop_(std::move(stop)) {}

States StatePass::embed() const {
  States states;
  for (const auto& batch : batches_) {
    std::vector<int32_t> tokens;
    for (const auto& text : batch) tokens.insert(tokens.end(), text.begin(), text.end());
    states.emplace_back(tokens.size() * static_cast<size_t>(runner_.spec().hidden_size));
    runner_.embed(tokens, states.back().data());
  }
  return states;
}

void StatePass::run(const runner::CpuLayer& layer, size_t batch, std::vector<float>& hidden,
                    const runner::LinearObserver& observer) {
  if (stop_.stop_requested()) core::fail(core::ErrorKind::kCancelled, "interrupted; run again with --resume to go on");
  const auto& texts = batches_[batch];
  while (sequences_.size() < texts.size()) sequences_.push_back(runner_.new_sequence());
  std::vector<runner::LayerRun> runs;
  for (size_t i = 0; i < texts.size(); ++i) {
    sequences_[i].truncate(0);
    runs.push_back({&sequences_[i], std::ssize(texts[i])});
  }
  runner_.run_layer(layer, runs, hidden.data(), observer);
}

void StatePass::run(const runner::CpuLayer& layer, States& states) {
  for (size_t i = 0; i < states.size(); ++i) run(layer, i, states[i]);
}

void StatePass::run(const model::DecoderLayer& layer, int64_t index, States& states) {
  core::Arena arena;
  run(runner::CpuLayer(layer, runner_.spec().attention[index], runner::Activations::kFp32, pool_, arena), states);
}

}  // namespace salient::quantize
