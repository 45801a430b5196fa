#include "evaluate/perplexity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "runner/cpu_runner.h"
#include "tests/support/tiny_model.h"

namespace salient::evaluate {
namespace {

constexpr int64_t kVocab = 256;

std::shared_ptr<const model::Decoder> make_decoder(const std::filesystem::path& folder,
                                                   const tests::TinyShape& shape = {}) {
  tests::write_tiny_model(folder, shape);
  return std::make_shared<model::Decoder>(
      std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder)));
}

/// log softmax of each position of each window, in double, from logits of plain forward passes.
using LogProbabilities = std::vector<std::vector<double>>;

class PerplexityTest : public testing::Test {
 protected:
  void SetUp() override {
    model_decoder_ = make_decoder(folder_.path() / "model");
    base_decoder_ = make_decoder(folder_.path() / "base", {.layers = 3});
    model_.emplace(model_decoder_, pool_);
    base_.emplace(base_decoder_, pool_);
    for (int32_t i = 0; i < 250; ++i) tokens_.push_back(i * i * 37 % kVocab);
  }

  static Recipe recipe(const char* name, int64_t window, int64_t stride) {
    Recipe recipe = find_recipe(name);
    recipe.window = window;
    recipe.stride = stride;
    return recipe;
  }

  Evaluation run(const Recipe& recipe, int64_t limit = 0, int32_t replace = -1, runner::CpuRunner* base = nullptr) {
    return evaluate(*model_, base, tokens_, recipe, limit, replace, {}, {});
  }

  /// The log probabilities that predict tokens [first_scored, end) of one window.
  LogProbabilities predict(runner::CpuRunner& runner, const Window& window) {
    runner::Sequence sequence = runner.new_sequence();
    const auto text = std::span(tokens_).subspan(window.begin, window.end - window.begin);
    const runner::TokenRun run{text, &sequence, runner::Wanted::kAllLogits};
    const auto logits = runner.forward(std::span(&run, 1));
    LogProbabilities rows;
    for (int64_t token = window.first_scored; token < window.end; ++token) {
      const float* row = &logits[(token - window.begin - 1) * kVocab];
      double sum = 0;
      for (int64_t i = 0; i < kVocab; ++i) sum += std::exp(double{row[i]});
      std::vector<double>& log_probabilities = rows.emplace_back();
      for (int64_t i = 0; i < kVocab; ++i) log_probabilities.push_back(row[i] - std::log(sum));
    }
    return rows;
  }

  /// The negative log-likelihoods of one window's scored tokens.
  std::vector<double> losses_of(runner::CpuRunner& runner, const Window& window) {
    std::vector<double> losses;
    for (const auto& row : predict(runner, window)) {
      losses.push_back(-row[tokens_[window.first_scored + std::ssize(losses)]]);
    }
    return losses;
  }

  std::string error_of(runner::CpuRunner* base, const Recipe& recipe, int32_t replace = -1) {
    try {
      run(recipe, 0, replace, base);
      return "nothing was thrown";
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInvalidInput);
      return error.what();
    }
  }

  tests::TemporaryFolder folder_;
  core::ThreadPool pool_{2};
  std::shared_ptr<const model::Decoder> model_decoder_;
  std::shared_ptr<const model::Decoder> base_decoder_;
  std::optional<runner::CpuRunner> model_;
  std::optional<runner::CpuRunner> base_;
  std::vector<int32_t> tokens_;
};

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double standard_error_of(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += std::pow(value - mean_of(values), 2);
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / (n - 1) / n);
}

TEST_F(PerplexityTest, IsTheExponentialOfTheMeanLossOfTheLogits) {
  // 140 is more than the positions that are scored together.
  for (const Recipe& r :
       {recipe("paper", 32, 32), recipe("short", 140, 140), recipe("sliding", 40, 15), recipe("llama.cpp", 64, 64)}) {
    std::vector<double> all;
    std::vector<double> means;
    const auto windows = make_windows(r, std::ssize(tokens_), 0);
    for (const Window& window : windows) {
      const auto losses = losses_of(*model_, window);
      means.push_back(mean_of(losses));
      all.insert(all.end(), losses.begin(), losses.end());
    }
    const Evaluation result = run(r);
    EXPECT_EQ(result.windows, std::ssize(windows));
    EXPECT_EQ(result.predictions, std::ssize(all));
    ASSERT_EQ(result.model.window_losses.size(), means.size());
    for (size_t i = 0; i < means.size(); ++i) EXPECT_NEAR(result.model.window_losses[i], means[i], 1e-5);
    const double expected = std::exp(mean_of(r.average == Average::kWindowMeans ? means : all));
    EXPECT_NEAR(result.model.perplexity, expected, 1e-5 * expected) << r.name;
    EXPECT_NEAR(result.model.standard_error, expected * standard_error_of(all), 1e-4 * expected) << r.name;
    EXPECT_FALSE(result.has_base);
  }
}

TEST_F(PerplexityTest, MeansOfWindowsAndOfPredictionsDifferWhereWindowsDo) {
  Recipe r = recipe("sliding", 40, 15);
  const double over_predictions = run(r).model.perplexity;
  r.average = Average::kWindowMeans;
  EXPECT_GT(std::fabs(run(r).model.perplexity - over_predictions), 1e-3 * over_predictions);
}

TEST_F(PerplexityTest, DivergenceIsTheMeanOverPredictions) {
  const Recipe r = recipe("paper", 60, 60);
  std::vector<double> divergences;
  int64_t agreements = 0;
  for (const Window& window : make_windows(r, std::ssize(tokens_), 0)) {
    const auto ours = predict(*model_, window);
    const auto theirs = predict(*base_, window);
    for (size_t row = 0; row < ours.size(); ++row) {
      double divergence = 0;
      for (int64_t i = 0; i < kVocab; ++i) divergence += std::exp(theirs[row][i]) * (theirs[row][i] - ours[row][i]);
      divergences.push_back(divergence);
      const auto top = [](const std::vector<double>& v) { return std::max_element(v.begin(), v.end()) - v.begin(); };
      agreements += top(ours[row]) == top(theirs[row]);
    }
  }
  const Evaluation result = run(r, 0, -1, &*base_);
  ASSERT_TRUE(result.has_base);
  EXPECT_GT(mean_of(divergences), 0.01) << "the models are too alike to test anything";
  EXPECT_NEAR(result.divergence.mean_kl, mean_of(divergences), 1e-4 * mean_of(divergences));
  EXPECT_NEAR(result.divergence.standard_error, standard_error_of(divergences), 1e-4);
  EXPECT_EQ(result.divergence.top1_agreement, static_cast<double>(agreements) / std::ssize(divergences));
  EXPECT_EQ(result.model.perplexity, run(r).model.perplexity);
  const auto base_alone = evaluate(*base_, nullptr, tokens_, r, 0, -1, {}, {});
  EXPECT_EQ(result.base.perplexity, base_alone.model.perplexity);
  EXPECT_EQ(result.base.window_losses, base_alone.model.window_losses);
}

TEST_F(PerplexityTest, ScoresSeveralModelsAsIfEachWereAlone) {
  const Recipe r = recipe("sliding", 64, 32);
  runner::CpuRunner streamed(model_decoder_, pool_, {.residency = runner::Residency::kStreamed});
  const std::array<runner::ModelRunner*, 3> models = {&*model_, &*base_, &streamed};
  const auto results = evaluate(models, &*base_, tokens_, r, 2, 5, {}, {});
  ASSERT_EQ(results.size(), 3U);
  const Evaluation expected = run(r, 2, 5, &*base_);
  for (const size_t i : {0, 2}) {
    EXPECT_EQ(results[i].model.window_losses, expected.model.window_losses);
    EXPECT_EQ(results[i].base.window_losses, expected.base.window_losses);
    EXPECT_EQ(results[i].divergence.mean_kl, expected.divergence.mean_kl);
    EXPECT_EQ(results[i].divergence.top1_agreement, expected.divergence.top1_agreement);
  }
  EXPECT_EQ(results[1].divergence.mean_kl, 0);
  EXPECT_EQ(results[1].model.window_losses, expected.base.window_losses);
}

TEST_F(PerplexityTest, AModelDoesNotDivergeFromItself) {
  runner::CpuRunner same(model_decoder_, pool_);
  const Evaluation result = run(recipe("paper", 32, 32), 3, -1, &same);
  EXPECT_EQ(result.divergence.mean_kl, 0);
  EXPECT_EQ(result.divergence.standard_error, 0);
  EXPECT_EQ(result.divergence.top1_agreement, 1);
  EXPECT_EQ(result.base.perplexity, result.model.perplexity);
  EXPECT_EQ(result.windows, 3);
}

TEST_F(PerplexityTest, StreamedLayersGiveTheSameBits) {
  runner::CpuRunner streamed(model_decoder_, pool_, {.residency = runner::Residency::kStreamed});
  runner::CpuRunner streamed_base(base_decoder_, pool_, {.residency = runner::Residency::kStreamed});
  const Recipe r = recipe("sliding", 64, 32);
  const Evaluation expected = run(r, 0, -1, &*base_);
  for (auto* base : {&*base_, &streamed_base}) {
    const Evaluation result = evaluate(streamed, base, tokens_, r, 0, -1, {}, {});
    EXPECT_EQ(result.model.window_losses, expected.model.window_losses);
    EXPECT_EQ(result.base.window_losses, expected.base.window_losses);
    EXPECT_EQ(result.divergence.mean_kl, expected.divergence.mean_kl);
  }
}

TEST_F(PerplexityTest, AnyNumberOfThreadsGivesTheSameBits) {
  const Recipe r = recipe("paper", 64, 64);
  const Evaluation expected = run(r);
  for (const int threads : {1, 3}) {
    core::ThreadPool pool(threads);
    runner::CpuRunner runner(model_decoder_, pool);
    EXPECT_EQ(evaluate(runner, nullptr, tokens_, r, 0, -1, {}, {}).model.window_losses, expected.model.window_losses);
  }
}

TEST_F(PerplexityTest, ReplacesTheFirstTokenOfEachWindow) {
  const Recipe r = recipe("llama.cpp", 32, 32);
  const Evaluation replaced = run(r, 0, 7);
  EXPECT_NE(replaced.model.window_losses, run(r).model.window_losses);
  for (size_t i = 0; i < tokens_.size(); i += 32) tokens_[i] = 7;
  EXPECT_EQ(run(r).model.window_losses, replaced.model.window_losses);
}

TEST_F(PerplexityTest, NamesTheNumbersThatDoNotFit) {
  const std::string model = (folder_.path() / "model").string();
  tokens_.resize(600);
  EXPECT_EQ(error_of(nullptr, recipe("paper", 513, 513)),
            model + ": its context holds 512 tokens, but the window has 513: give a smaller --window");
  EXPECT_EQ(error_of(nullptr, recipe("paper", 32, 32), 256), model + ": token 256 is outside its vocabulary of 256");
  tokens_[400] = 300;
  EXPECT_EQ(error_of(nullptr, recipe("paper", 32, 32)), model + ": token 300 is outside its vocabulary of 256");
  tokens_[400] = -1;
  EXPECT_EQ(error_of(nullptr, recipe("paper", 32, 32)), model + ": token -1 is outside its vocabulary of 256");
  tokens_[400] = 0;
  runner::CpuRunner larger(make_decoder(folder_.path() / "larger", {.vocab_size = 272}), pool_);
  EXPECT_EQ(error_of(&larger, recipe("paper", 32, 32)),
            model + ": its vocabulary has 256 tokens, but the base's has 272");
}

TEST_F(PerplexityTest, StopsWhenAskedTo) {
  std::stop_source stop;
  stop.request_stop();
  runner::CpuRunner streamed(model_decoder_, pool_, {.residency = runner::Residency::kStreamed});
  for (auto* runner : {&*model_, &streamed}) {
    try {
      evaluate(*runner, nullptr, tokens_, recipe("paper", 32, 32), 0, -1, {}, stop.get_token());
      ADD_FAILURE();
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kCancelled);
    }
  }
}

}  // namespace
}  // namespace salient::evaluate
