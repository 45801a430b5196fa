#include "runner/head_rounding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "runner/cpu_runner.h"
#include "tests/support/tiny_model.h"

namespace salient::runner {
namespace {

class HeadRoundingTest : public testing::TestWithParam<bool> {
 protected:
  std::shared_ptr<model::Decoder> open(const tests::TinyShape& shape) {
    const auto folder = folder_.path() / std::to_string(shape.hidden_size);
    tests::write_tiny_model(folder, shape);
    return std::make_shared<model::Decoder>(
        std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder)));
  }
  std::vector<float> logits(CpuRunner& runner) {
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 20; ++i) tokens.push_back(i * 37 % 256);
    Sequence sequence = runner.new_sequence();
    const TokenRun run{tokens, &sequence, Wanted::kAllLogits};
    return runner.forward(std::span(&run, 1));
  }

  tests::TemporaryFolder folder_;
  core::ThreadPool pool_{2};
};
INSTANTIATE_TEST_SUITE_P(Embeddings, HeadRoundingTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Tied" : "Untied"; });

TEST_P(HeadRoundingTest, WeightsMoveByHalfAStepOnAverageAtMost) {
  const auto decoder = open({.tied = GetParam()});
  std::vector<float> stored(64);
  std::vector<float> held(64);
  for (const HeadPrecision precision : {HeadPrecision::kInt8, HeadPrecision::kInt4}) {
    const auto groups = choose_head_groups(*decoder, precision);
    ASSERT_TRUE(groups);
    const core::LinearWeights rounded = round_head(*decoder, *groups);
    ASSERT_TRUE(rounded.quantized());
    const core::QuantizedTensor codes = rounded.quantized()->read();
    EXPECT_EQ(rounded.quantized()->bits, groups->bits);
    for (int64_t row = 0; row < 256; ++row) {
      decoder->head().read_rows(row, 1, stored.data());
      rounded.read_rows(row, 1, held.data());
      for (int64_t i = 0; i < 64; i += groups->size) {
        double squares = 0;
        for (int64_t j = i; j < i + groups->size; ++j) squares += std::pow(held[j] - stored[j], 2);
        const double step = std::fabs(codes.scales[(row * 64 + i) / groups->size]);
        EXPECT_LT(std::sqrt(squares / groups->size), step / 2);
      }
    }
  }
}

TEST_P(HeadRoundingTest, LogitsStayCloseAndHiddenStatesAsTheyAre) {
  const auto decoder = open({.tied = GetParam()});
  CpuRunner plain(decoder, pool_);
  const auto expected = logits(plain);
  double scale = 0;
  for (const float logit : expected) scale += logit * logit;
  double int8_error = 0;
  for (const auto& [precision, bound] :
       {std::pair{HeadPrecision::kInt8, 0.015}, std::pair{HeadPrecision::kInt4, 0.15}}) {
    CpuRunner runner(decoder, pool_, {.head = precision});
    const auto rounded = logits(runner);
    ASSERT_EQ(rounded.size(), expected.size());
    double error = 0;
    for (size_t i = 0; i < rounded.size(); ++i) error += std::pow(rounded[i] - expected[i], 2);
    EXPECT_GT(error, int8_error);
    EXPECT_LT(std::sqrt(error / scale), bound);
    if (precision == HeadPrecision::kInt8) int8_error = error;
  }
}

TEST_P(HeadRoundingTest, BytesPerTokenAreThoseOfTheHeadThatIsHeld) {
  const auto decoder = open({.tied = GetParam()});
  const int64_t weights = 256 * 64;
  const CpuRunner plain(decoder, pool_);
  const int64_t layers = plain.bytes_per_token() - 2 * weights;
  constexpr int64_t kGroupBytes = 3;  // an fp16 scale and a zero point
  const CpuRunner int8(decoder, pool_, {.head = HeadPrecision::kInt8});
  EXPECT_EQ(int8.bytes_per_token(), layers + weights + weights / 64 * kGroupBytes);
  const CpuRunner int4(decoder, pool_, {.head = HeadPrecision::kInt4});
  EXPECT_EQ(int4.bytes_per_token(), layers + weights / 2 + weights / 32 * kGroupBytes);
}

TEST_P(HeadRoundingTest, ExactActivationsMultiplyTheSameRoundedHead) {
  const auto decoder = open({.tied = GetParam()});
  CpuRunner exact(decoder, pool_, {.activations = Activations::kFp32, .head = HeadPrecision::kInt4});
  CpuRunner rounded(decoder, pool_, {.head = HeadPrecision::kInt4});
  const core::LinearWeights head = round_head(*decoder, *exact.rounded_head());
  std::vector<float> hidden(64);
  exact.embed(std::vector<int32_t>{7}, hidden.data());
  std::vector<float> logits(256);
  exact.head(hidden.data(), 1, logits.data());
  std::vector<float> other(256);
  rounded.head(hidden.data(), 1, other.data());
  double square = 0;
  for (const float x : hidden) square += double{x} * x;
  const auto norm = decoder->final_norm().weight;
  std::vector<float> row(64);
  for (int64_t i = 0; i < 256; ++i) {
    head.read_rows(i, 1, row.data());
    double sum = 0;
    double magnitude = 0;
    for (int64_t c = 0; c < 64; ++c) {
      const double product = row[c] * hidden[c] / std::sqrt(square / 64 + 1e-5) * norm[c];
      sum += product;
      magnitude += std::fabs(product);
    }
    EXPECT_NEAR(logits[i], sum, 1e-5 * (1 + magnitude));
    EXPECT_NEAR(other[i], sum, 0.05 * (1 + magnitude));
  }
}

TEST_P(HeadRoundingTest, GroupsAreSmallerWhereHiddenSizeAsksForIt) {
  const auto decoder = open({.hidden_size = 48, .tied = GetParam()});
  EXPECT_FALSE(choose_head_groups(*decoder, HeadPrecision::kStored));
  EXPECT_EQ(choose_head_groups(*decoder, HeadPrecision::kInt8)->size, 16);
  EXPECT_EQ(choose_head_groups(*decoder, HeadPrecision::kInt4)->size, 16);
  const auto odd = open({.hidden_size = 40, .tied = GetParam()});
  try {
    choose_head_groups(*odd, HeadPrecision::kInt8);
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("hidden_size is 40"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace salient::runner
