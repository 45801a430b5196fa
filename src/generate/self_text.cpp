#include "generate/self_text.h"

#include <span>

#include "core/error.h"
#include "core/random.h"
#include "generate/sampler.h"

namespace salient::generate {

std::vector<std::vector<int32_t>> write_self_text(runner::Runner& runner, const SelfTextOptions& options,
                                                  const core::ProgressCallback& progress, std::stop_token stop) {
  const int64_t vocab_size = runner.spec().vocab_size;
  Sampler sampler({.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .seed = options.seed});
  std::vector<std::vector<int32_t>> texts(options.sequences);
  std::vector<runner::Sequence> sequences;
  for (int64_t i = 0; i < options.sequences; ++i) {
    const uint64_t random = core::random_bits(options.seed, static_cast<uint64_t>(i), 0);
    texts[i] = {i % 2 == 0 ? options.first_token : static_cast<int32_t>(random % static_cast<uint64_t>(vocab_size))};
    sequences.push_back(runner.new_sequence());
  }
  for (int64_t position = 1; position < options.tokens; ++position) {
    if (stop.stop_requested()) core::fail(core::ErrorKind::kCancelled, "interrupted while the model wrote text");
    std::vector<runner::TokenRun> runs;
    for (int64_t i = 0; i < options.sequences; ++i) {
      runs.push_back({std::span(texts[i]).last(1), &sequences[i], runner::Wanted::kLastLogits});
    }
    const std::vector<float> logits = runner.forward(runs);
    for (int64_t i = 0; i < options.sequences; ++i) {
      const std::span row(&logits[i * vocab_size], static_cast<size_t>(vocab_size));
      texts[i].push_back(sampler.choose(row, static_cast<uint64_t>(i), static_cast<uint64_t>(position)));
    }
    if (progress) {
      progress({"writing text", (position + 1) * options.sequences, options.tokens * options.sequences, "tokens", {}});
    }
  }
  return texts;
}

}  // namespace salient::generate
