#pragma once

#include <fstream>
#include <memory>
#include <utility>
#include <vector>

#include "runner/cpu_runner.h"
#include "tests/support/tiny_model.h"

namespace salient::tests {

/// A random model on two threads, with these ids as its ends of sequence. Untied embeddings make it write varied text.
class TinyRunner {
 public:
  explicit TinyRunner(const TinyShape& shape, const std::vector<int32_t>& end_of_sequence = {}) {
    write_tiny_model(folder_.path() / "model", shape);
    nlohmann::json config = tiny_config(shape);
    config["eos_token_id"] = end_of_sequence;
    std::ofstream(folder_.path() / "model" / "config.json") << config;
    auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder_.path() / "model"));
    runner_ = std::make_unique<runner::CpuRunner>(std::make_shared<model::Decoder>(std::move(checkpoint)), pool_);
  }

  runner::CpuRunner& operator*() { return *runner_; }
  runner::CpuRunner* operator->() { return runner_.get(); }

  /// The logits after these tokens, computed from scratch.
  std::vector<float> logits_after(std::span<const int32_t> tokens) {
    runner::Sequence sequence = runner_->new_sequence();
    const runner::TokenRun run{tokens, &sequence, runner::Wanted::kLastLogits};
    return runner_->forward(std::span(&run, 1));
  }

 private:
  TemporaryFolder folder_;
  core::ThreadPool pool_{2};
  std::unique_ptr<runner::CpuRunner> runner_;
};

}  // namespace salient::tests
