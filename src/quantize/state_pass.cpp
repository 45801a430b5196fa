#include "quantize/state_pass.h"

#include <utility>

#include "core/arena.h"
#include "core/error.h"

namespace salient::quantize {

StatePass::StatePass(std::shared_ptr<const model::Decoder> decoder, std::span<const std::vector<int32_t>> texts,
                     std::stop_token stop, core::ThreadPool& pool)
    : runner_(std::move(decoder), pool,
              {.activations = runner::Activations::kFp32, .residency = runner::Residency::kStreamed}),
      pool_(pool),
      sequence_(runner_.new_sequence()),
      texts_(texts),
      stop_(std::move(stop)) {}

States StatePass::embed() const {
  States states;
  for (const auto& text : texts_) {
    states.emplace_back(text.size() * static_cast<size_t>(runner_.spec().hidden_size));
    runner_.embed(text, states.back().data());
  }
  return states;
}

void StatePass::run(const runner::CpuLayer& layer, size_t text, std::vector<float>& hidden,
                    const runner::LinearObserver& observer) {
  if (stop_.stop_requested()) core::fail(core::ErrorKind::kCancelled, "interrupted; run again with --resume to go on");
  sequence_.truncate(0);
  runner_.run_layer(layer, sequence_, std::ssize(texts_[text]), hidden.data(), observer);
}

void StatePass::run(const runner::CpuLayer& layer, States& states) {
  for (size_t i = 0; i < states.size(); ++i) run(layer, i, states[i]);
}

void StatePass::run(const model::DecoderLayer& layer, int64_t index, States& states) {
  core::Arena arena;
  run(runner::CpuLayer(layer, runner_.spec().attention[index], runner::Activations::kFp32, pool_, arena), states);
}

}  // namespace salient::quantize
