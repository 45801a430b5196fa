#include "quantize/state_pass.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "runner/cpu_runner.h"
#include "tests/support/tiny_model.h"

namespace salient::quantize {
namespace {

using Texts = std::vector<std::vector<int32_t>>;

class StatePassTest : public testing::Test {
 protected:
  void SetUp() override {
    tests::write_tiny_model(folder_.path());
    decoder_ = std::make_shared<model::Decoder>(
        std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder_.path())));
  }

  static Texts make_texts(const std::vector<int32_t>& lengths) {
    Texts texts;
    for (const int32_t length : lengths) {
      texts.emplace_back();
      for (int32_t i = 0; i < length; ++i) texts.back().push_back((i * 37 + length * 11 + i / 7) % 256);
    }
    return texts;
  }

  /// The states behind the last layer, of all texts one after the other, and in `inputs` what an observer saw.
  std::vector<float> run(const Texts& texts, std::map<int, std::vector<float>>* inputs = nullptr, int threads = 2) {
    core::ThreadPool pool(threads);
    StatePass pass(decoder_, texts, {}, pool);
    States states = pass.embed();
    for (int64_t i = 0; i < decoder_->spec().layers; ++i) {
      const auto layer = pass.runner().layer(i);
      for (size_t batch = 0; batch < states.size(); ++batch) {
        pass.run(*layer, batch, states[batch],
                 [&](runner::LinearInput place, const float* x, int64_t tokens, int64_t width) {
                   if (!inputs) return;
                   auto& seen = (*inputs)[static_cast<int>(i) * 4 + static_cast<int>(place)];
                   seen.insert(seen.end(), x, x + tokens * width);
                 });
      }
    }
    std::vector<float> all;
    for (const auto& batch : states) all.insert(all.end(), batch.begin(), batch.end());
    return all;
  }

  tests::TemporaryFolder folder_;
  std::shared_ptr<const model::Decoder> decoder_;
};

TEST_F(StatePassTest, TextsThatShareABatchGetTheBitsOfEachOnItsOwn) {
  const Texts texts = make_texts({5, 300, 200, 1, 512, 17, 40, 9, 500, 64});
  std::map<int, std::vector<float>> inputs;
  const std::vector<float> together = run(texts, &inputs);
  std::vector<float> apart;
  std::map<int, std::vector<float>> inputs_apart;
  for (const auto& text : texts) {
    const auto states = run({text}, &inputs_apart);
    apart.insert(apart.end(), states.begin(), states.end());
  }
  EXPECT_EQ(together, apart);
  EXPECT_EQ(inputs, inputs_apart) << "every token once, in order, and nothing else";
  EXPECT_EQ(run(texts, nullptr, 1), together) << "on one thread";
}

TEST_F(StatePassTest, ATextSeesNothingOfItsNeighbours) {
  Texts texts = make_texts({30, 40, 50});
  const auto states = run(texts);
  texts[0][29] += 1;
  texts[2][0] += 1;
  const auto others = run(texts);
  const auto size = decoder_->spec().hidden_size;
  EXPECT_TRUE(std::equal(&states[30 * size], &states[70 * size], &others[30 * size]));
  EXPECT_FALSE(std::equal(&states[29 * size], &states[30 * size], &others[29 * size]));
  EXPECT_FALSE(std::equal(&states[70 * size], &states[71 * size], &others[70 * size]));
}

TEST_F(StatePassTest, BatchesHoldAsManyWholeTextsAsHaveRoom) {
  core::ThreadPool pool(1);
  const Texts texts = make_texts({500, 12, 1, 513, 256, 256, 256});
  std::vector<size_t> tokens;
  for (const auto& batch : StatePass(decoder_, texts, {}, pool).embed()) {
    tokens.push_back(batch.size() / static_cast<size_t>(decoder_->spec().hidden_size));
  }
  EXPECT_EQ(tokens, (std::vector<size_t>{512, 1, 513, 512, 256}));
}

}  // namespace
}  // namespace salient::quantize
