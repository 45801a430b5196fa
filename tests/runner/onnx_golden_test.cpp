#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "runner/cpu_runner.h"
#include "tests/support/tiny_model.h"

namespace salient::runner {
namespace {

/// What onnxruntime 1.32 computes, with activations in floats (without the graph's accuracy_level), for the last of
/// `tokens` tokens, i-th of which is (7 i^2 + 3 i) mod 300 + 5: the likeliest token, its logit and the first three.
/// tests/interop/onnx_genai_test.py compares everything.
struct OnnxGolden {
  const char* folder;
  int tokens;
  int64_t likeliest;
  std::array<float, 4> logits;
};

constexpr OnnxGolden kGoldens[] = {
    {"llama", 12, 313, {0.624933f, -0.012197f, 0.071161f, -0.058446f}},
    {"llama", 100, 149, {0.524933f, -0.191986f, -0.189173f, -0.341148f}},
    {"mistral01", 12, 48, {0.653767f, -0.112061f, -0.142805f, -0.172957f}},
    {"mistral01", 100, 225, {0.740026f, 0.055222f, -0.049492f, -0.074492f}},
    {"phi3medium4k", 12, 134, {0.609376f, 0.289368f, -0.224810f, 0.176405f}},
    {"phi3medium4k", 100, 34, {0.651628f, 0.099986f, -0.722421f, 0.066398f}},
    {"phi3mini128k", 12, 282, {0.644963f, 0.071222f, 0.219204f, 0.081582f}},
    {"phi3mini128k", 100, 163, {0.791695f, -0.016618f, 0.182533f, -0.185257f}},
    {"phi3mini128k_dml", 12, 282, {0.645996f, 0.071167f, 0.217529f, 0.072571f}},
    {"phi3mini128k_dml", 100, 163, {0.791992f, -0.016220f, 0.182495f, -0.187622f}},
    {"phi3mini4k", 12, 89, {0.682701f, 0.323553f, 0.149684f, -0.061756f}},
    {"phi3mini4k", 100, 264, {0.524484f, 0.184174f, 0.079073f, 0.048888f}},
    {"smollm2", 12, 285, {1.018987f, -0.230015f, 0.016357f, 0.000000f}},
    {"smollm2", 100, 209, {1.514991f, 0.279657f, 0.300331f, 0.000000f}},
    {"smollm2_lm8", 12, 285, {1.018987f, -0.230015f, 0.016357f, 0.000000f}},
    {"smollm2_lm8", 100, 209, {1.514991f, 0.279657f, 0.300331f, 0.000000f}},
    {"smollm2_tied", 12, 285, {1.018987f, -0.230015f, 0.016357f, 0.000000f}},
    {"smollm2_tied", 100, 209, {1.514991f, 0.279657f, 0.300331f, 0.000000f}},
};

class OnnxGoldens : public testing::TestWithParam<OnnxGolden> {};

INSTANTIATE_TEST_SUITE_P(Tiny, OnnxGoldens, testing::ValuesIn(kGoldens),
                         [](const testing::TestParamInfo<OnnxGolden>& golden) {
                           return std::string(golden.param.folder) + "_" + std::to_string(golden.param.tokens);
                         });

TEST_P(OnnxGoldens, LogitsAreThoseOfOnnxruntime) {
  const OnnxGolden& golden = GetParam();
  const auto folder = tests::shared_data() / "onnx" / golden.folder;
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
  std::vector<int32_t> ids;
  for (int i = 0; i < golden.tokens; ++i) ids.push_back((7 * i * i + 3 * i) % 300 + 5);
  core::ThreadPool pool(2);
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder));
  CpuRunner runner(std::make_shared<model::Decoder>(std::move(checkpoint)), pool,
                   CpuRunnerOptions{.activations = Activations::kFp32, .kv_dtype = core::DType::kF32});
  Sequence sequence = runner.new_sequence();
  const TokenRun run{ids, &sequence};
  const auto logits = runner.forward(std::span(&run, 1));
  // A graph for DirectML computes in half floats.
  const bool half = std::string_view(golden.folder).ends_with("_dml");
  const float tolerance = half ? 2e-3f : 1e-5f;
  const auto best = std::max_element(logits.begin(), logits.end());
  EXPECT_LE(*best - logits[golden.likeliest], half ? tolerance : 0);
  EXPECT_NEAR(logits[golden.likeliest], golden.logits[0], tolerance);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(logits[i], golden.logits[i + 1], tolerance) << "logit " << i;
}

}  // namespace
}  // namespace salient::runner
