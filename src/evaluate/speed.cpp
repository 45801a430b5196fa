#include "evaluate/speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/random.h"

namespace salient::evaluate {

using core::ErrorKind;
using core::fail;
using runner::ModelRunner;

namespace {

/// Sweeps of memory before and after decoding: 0.1 to 0.2 s.
constexpr int kSweeps = 4;
/// Tokens of a long context that are put in between two looks at the stop token.
constexpr int64_t kFillTokens = 512;
constexpr int64_t kWarmUpTokens = 4;

/// A sequence, and the random tokens that are put into it.
class Meter {
 public:
  Meter(ModelRunner& runner, std::stop_token stop)
      : runner_(runner), stop_(std::move(stop)), sequence_(runner.new_sequence()) {}

  /// Makes the sequence `depth` tokens long, in the rotary regime that `final_length` asks for.
  void fill(int64_t depth, int64_t final_length, const core::ProgressCallback& progress) {
    sequence_.truncate(0);
    for (int64_t done = 0; done < depth;) {
      const int64_t count = std::min(kFillTokens, depth - done);
      run(count, runner::Wanted::kNothing, final_length);
      done += count;
      if (progress) progress({"filling the context", done, depth, "tokens", {}});
    }
  }

  /// Tokens a second of the first `tokens` tokens of a test.
  double time(const SpeedTest& test, int64_t tokens) {
    sequence_.truncate(test.depth);
    const auto start = std::chrono::steady_clock::now();
    const int64_t step = test.prefill ? tokens : 1;
    for (int64_t done = 0; done < tokens; done += step) {
      run(step, runner::Wanted::kLastLogits, test.depth + test.tokens);
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return static_cast<double>(tokens) / passed.count();
  }

 private:
  /// Where logits are wanted, they are those that a greedy choice needs.
  void run(int64_t count, runner::Wanted wanted, int64_t final_length) {
    if (stop_.stop_requested()) fail(ErrorKind::kCancelled, "interrupted while measuring");
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens) {
      token =
          static_cast<int32_t>(core::random_bits(0, 0, drawn_++) % static_cast<uint64_t>(runner_.spec().vocab_size));
    }
    const runner::TokenRun run{tokens, &sequence_, wanted, final_length};
    if (wanted == runner::Wanted::kLastLogits && runner_.most_top_logits() > 0) {
      runner_.top_logits(std::span(&run, 1), 1);
    } else {
      runner_.forward(std::span(&run, 1));
    }
  }

  ModelRunner& runner_;
  std::stop_token stop_;
  runner::Sequence sequence_;
  uint64_t drawn_ = 0;
};

std::vector<SpeedTest> make_tests(const ModelRunner& runner, const SpeedOptions& options) {
  std::vector<SpeedTest> tests;
  if (options.prompt_tokens > 0) {
    tests.push_back({fmt::format("pp{}", options.prompt_tokens), true, options.prompt_tokens, 0, 0, {}});
  }
  const auto add_decoding = [&](const std::string& name, int64_t depth) {
    int64_t cache_bytes = 0;
    for (int64_t i = 1; i <= options.generate_tokens; ++i) cache_bytes += runner.cache_bytes_per_token(depth + i);
    const double bytes = static_cast<double>(runner.bytes_per_token()) +
                         static_cast<double>(cache_bytes) / static_cast<double>(options.generate_tokens);
    tests.push_back({name, false, options.generate_tokens, depth, bytes, {}});
  };
  if (options.generate_tokens == 0) return tests;
  const std::string name = fmt::format("tg{}", options.generate_tokens);
  add_decoding(name, 0);
  if (options.depth > 0) add_decoding(fmt::format("{} @ d{}", name, options.depth), options.depth);
  return tests;
}

/// Measures memory some times, and adds what it found to `bandwidth`.
double fastest_sweep(MemoryProbe& probe, Bandwidth& bandwidth) {
  double fastest = 0;
  for (int i = 0; i < kSweeps; ++i) {
    bandwidth.sweeps.push_back(probe.measure());
    fastest = std::max(fastest, bandwidth.sweeps.back());
  }
  return fastest;
}

}  // namespace

double Bandwidth::best() const {
  return *std::max_element(sweeps.begin(), sweeps.end());
}

void check_speed_options(const model::DecoderSpec& spec, const SpeedOptions& options, const std::string& origin) {
  if (options.prompt_tokens == 0 && options.generate_tokens == 0) {
    fail(ErrorKind::kInvalidInput, "there is nothing to measure: no prompt tokens and no tokens to generate");
  }
  if (options.repetitions < 1) {
    fail(ErrorKind::kInvalidInput, "{} repetitions were asked for, expected 1 or more", options.repetitions);
  }
  const int64_t decoded = options.generate_tokens > 0 ? options.generate_tokens + options.depth : 0;
  const int64_t longest = std::max(options.prompt_tokens, decoded);
  if (longest <= spec.max_positions) return;
  fail(ErrorKind::kInvalidInput, "{}: its context holds {} tokens, but {} are to be measured", origin,
       spec.max_positions, longest);
}

SpeedMeasurement measure_speed(ModelRunner& runner, MemoryProbe& probe, const SpeedOptions& options,
                               const core::ProgressCallback& progress, std::stop_token stop) {
  check_speed_options(runner.spec(), options, runner.decoder().checkpoint().path.string());
  SpeedMeasurement result;
  result.tests = make_tests(runner, options);
  result.bandwidth.bytes = probe.bytes();
  result.bandwidth.method = probe.method();
  std::vector<Meter> meters;
  for (const SpeedTest& test : result.tests) {
    Meter& meter = meters.emplace_back(runner, stop);
    meter.fill(test.depth, test.depth + test.tokens, progress);
    meter.time(test, test.prefill ? test.tokens : std::min(kWarmUpTokens, test.tokens));
  }
  probe.measure();
  if (options.generate_tokens == 0) fastest_sweep(probe, result.bandwidth);
  for (int64_t repetition = 0; repetition < options.repetitions; ++repetition) {
    for (size_t i = 0; i < result.tests.size(); ++i) {
      SpeedTest& test = result.tests[i];
      if (!test.prefill) test.bandwidth_before.push_back(fastest_sweep(probe, result.bandwidth));
      test.tokens_per_second.push_back(meters[i].time(test, test.tokens));
      if (!test.prefill) test.bandwidth_after.push_back(fastest_sweep(probe, result.bandwidth));
    }
    if (progress) progress({"measuring", repetition + 1, options.repetitions, "repetitions", {}});
  }
  return result;
}

}  // namespace salient::evaluate
