#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>

#include "kernels/kernels.h"
#include "runner/vulkan/vulkan_layer.h"
#include "runner/vulkan/vulkan_top_logits.h"
#include "tests/support/tiny_quantized.h"
#include "tests/support/top_logits.h"
#include "tests/support/vulkan_adapter.h"

namespace salient::runner {
namespace {

std::vector<float> random_values(int64_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = distribution(engine);
  return values;
}

/// A device with some features left out, and what shaders run with. Every test's last check is that the validation
/// layer, where it is on, had nothing to say.
class VulkanKernels : public testing::TestWithParam<VulkanFeatures> {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_vulkan(); !reason.empty()) GTEST_SKIP() << reason;
    device_ = std::make_unique<VulkanDevice>(0, GetParam());
    pipelines_ = std::make_unique<Pipelines>(*device_);
    arena_ = std::make_unique<DeviceArena>(*device_);
    uploader_ = std::make_unique<Uploader>(*device_);
    commands_ = std::make_unique<CommandList>(*device_, *pipelines_);
  }
  void TearDown() override {
    for (const std::string& message : vulkan_validation_messages()) ADD_FAILURE() << message;
  }

  PackingContext context() { return {*device_, pool_, *arena_, *uploader_}; }
  template <typename T>
  DeviceSlice upload(const std::vector<T>& values) {
    const DeviceSlice slice = arena_->allocate(values.size() * sizeof(T));
    uploader_->write(std::as_bytes(std::span(values)), slice);
    return slice;
  }
  /// Runs what was recorded and returns the numbers of `slice`.
  std::vector<float> run_and_read(const DeviceSlice& slice) {
    const DeviceBuffer result(*device_, slice.bytes, MemoryPlace::kReadback);
    commands_->barrier();
    commands_->copy(slice, result.slice());
    commands_->end();
    commands_->run();
    const auto* values = reinterpret_cast<const float*>(result.mapped());
    return {values, values + slice.bytes / sizeof(float)};
  }
  /// W x + bias on the device.
  std::vector<float> multiply(const core::LinearWeights& weights, const std::vector<float>& x, int64_t tokens,
                              Activations activations) {
    const VulkanLinear linear(weights, "a test's", context());
    VulkanLinearStage stage(*device_, activations);
    stage.reserve(tokens, weights.in_features());
    const DeviceSlice input = upload(x);
    const DeviceSlice y = upload(std::vector<float>(static_cast<size_t>(tokens * weights.out_features()), NAN));
    commands_->begin();
    stage.run(*commands_, input, tokens, {{&linear, y}});
    return run_and_read(y);
  }

  core::ThreadPool pool_{2};
  std::unique_ptr<VulkanDevice> device_;
  std::unique_ptr<Pipelines> pipelines_;
  std::unique_ptr<DeviceArena> arena_;
  std::unique_ptr<Uploader> uploader_;
  std::unique_ptr<CommandList> commands_;
};

INSTANTIATE_TEST_SUITE_P(Features, VulkanKernels,
                         testing::Values(VulkanFeatures{true, true}, VulkanFeatures{false, true},
                                         VulkanFeatures{true, false}, VulkanFeatures{false, false}),
                         [](const auto& features) {
                           return std::string(features.param.subgroups ? "subgroups" : "shared_memory") +
                                  (features.param.integer_dot ? "_integer_dot" : "_no_dot");
                         });

core::LinearWeights dense(int64_t out, int64_t in, core::DType dtype, uint32_t seed) {
  auto values = std::make_shared<std::vector<float>>(random_values(out * in, seed));
  for (float& value : *values) {
    if (dtype == core::DType::kF16) value = core::half_to_float(core::float_to_half(value));
    if (dtype == core::DType::kBF16) value = core::bfloat16_to_float(core::float_to_bfloat16(value));
  }
  const auto read = [=](int64_t first, int64_t count, float* to) {
    std::copy_n(values->begin() + first * in, count * in, to);
  };
  return {core::DenseMatrix{out, in, dtype, read}, random_values(out, seed + 1)};
}

core::LinearWeights quantized(int64_t out, int64_t in, int bits, int group_size, bool offsets, bool half,
                              bool ordered) {
  core::QuantizedTensor tensor = tests::make_quantized(out, in, group_size, 5, bits);
  if (offsets) {
    for (const uint8_t zero : tensor.zeros) tensor.offsets.push_back(static_cast<float>(zero) / -64);
    tensor.zeros.clear();
  }
  if (ordered) {
    for (int32_t i = 0; i < in; ++i) tensor.column_input.push_back(static_cast<int32_t>((i * 7 + 3) % in));
  }
  core::QuantizedMatrix matrix = core::hold(std::move(tensor));
  matrix.half_numbers = half;
  return {matrix, {}};
}

/// Each output beside the same sum in fp64, as a share of the sum of its terms' sizes: what rounding may do.
double largest_error(const core::LinearWeights& weights, const std::vector<float>& x, const std::vector<float>& y) {
  const int64_t in = weights.in_features();
  const int64_t out = weights.out_features();
  std::vector<float> rows(static_cast<size_t>(out * in));
  weights.read_rows(0, out, rows.data());
  double largest = 0;
  for (int64_t token = 0; token < std::ssize(x) / in; ++token) {
    for (int64_t row = 0; row < out; ++row) {
      double sum = weights.bias.empty() ? 0 : weights.bias[row];
      double sizes = std::abs(sum);
      for (int64_t i = 0; i < in; ++i) {
        const double term = double{rows[row * in + i]} * x[token * in + i];
        sum += term;
        sizes += std::abs(term);
      }
      const double error = std::abs(y[token * out + row] - sum) / sizes;
      if (!(error <= largest)) largest = std::isnan(error) ? INFINITY : error;
    }
  }
  return largest;
}

TEST_P(VulkanKernels, DenseLinearsAreTheReferences) {
  for (const core::DType dtype : {core::DType::kF32, core::DType::kF16, core::DType::kBF16}) {
    const auto weights = dense(70, 72, dtype, 3);
    for (const int64_t tokens : {1, 3, 8, 9, 70}) {
      const auto x = random_values(tokens * 72, 9);
      EXPECT_LE(largest_error(weights, x, multiply(weights, x, tokens, Activations::kFp32)), 2e-6)
          << core::info_of(dtype).name << ", " << tokens << " tokens";
    }
  }
}

TEST_P(VulkanKernels, QuantizedLinearsAreTheReferences) {
  for (const int bits : {4, 8}) {
    for (const int group_size : {16, 32, 128}) {
      for (const bool offsets : {false, true}) {
        const auto weights = quantized(37, 2304, bits, group_size, offsets, group_size != 32, group_size == 128);
        for (const int64_t tokens : {1, 5, 11}) {
          const auto x = random_values(tokens * 2304, 9);
          EXPECT_LE(largest_error(weights, x, multiply(weights, x, tokens, Activations::kFp32)), 2e-6)
              << bits << " bits in groups of " << group_size << (offsets ? " with offsets, " : ", ") << tokens;
        }
      }
    }
  }
}

/// Activations rounded to int8 in blocks, as shaders/quantize.comp describes it.
std::vector<float> round_to_int8(std::vector<float> x, int64_t block) {
  for (auto first = x.begin(); first != x.end(); first += block) {
    float largest = 0;
    for (auto i = first; i != first + block; ++i) largest = std::max(largest, std::abs(*i));
    const float scale = largest / 127;
    for (auto i = first; i != first + block; ++i) *i = std::nearbyint(*i / scale) * scale;
  }
  return x;
}

TEST_P(VulkanKernels, QuantizedLinearsOfRoundedActivationsAreTheReferences) {
  for (const int bits : {4, 8}) {
    for (const bool offsets : {false, true}) {
      const auto weights = quantized(37, 2304, bits, 64, offsets, true, false);
      for (const int64_t tokens : {1, 5}) {
        const auto x = random_values(tokens * 2304, 9);
        const auto y = multiply(weights, x, tokens, Activations::kInt8);
        // A number halfway between two integers may go to either: 1 / 127 of a block's largest, of 2304 numbers.
        EXPECT_LE(largest_error(weights, round_to_int8(x, bits == 4 ? 32 : 16), y), 2e-5) << bits << " bits";
        EXPECT_GT(largest_error(weights, x, y), 1e-4) << "the activations were not rounded";
      }
    }
  }
}

TEST_P(VulkanKernels, AMatrixOfMoreRowsThanADispatchTakesIsCut) {
  if (GetParam().integer_dot) GTEST_SKIP() << "the fp32 path does not depend on it";
  const int64_t rows = int64_t{device_->limits().maxComputeWorkGroupCount[0]} * 4 + 5;
  if (rows > 300000) GTEST_SKIP() << "the device takes " << rows << " rows";
  const auto weights = dense(rows, 8, core::DType::kF16, 3);
  const auto x = random_values(8, 9);
  EXPECT_LE(largest_error(weights, x, multiply(weights, x, 1, Activations::kFp32)), 2e-6);
}

TEST_P(VulkanKernels, NormsAreTheReferences) {
  constexpr int64_t kSize = 300;
  constexpr int64_t kRows = 3;
  struct Push {
    uint32_t size;
    float epsilon;
  };
  const auto x = random_values(kRows * kSize, 1);
  const auto weight = random_values(kSize, 2);
  const auto bias = random_values(kSize, 3);
  for (const bool is_layer_norm : {false, true}) {
    for (const bool accumulate : {false, true}) {
      const DeviceSlice y = upload(x);
      commands_->begin();
      commands_->dispatch(Shader::kNorm, {is_layer_norm, accumulate}, Push{kSize, 1e-5f},
                          {upload(x), upload(weight), upload(bias), y}, {kRows}, {});
      const auto result = run_and_read(y);
      for (int64_t row = 0; row < kRows; ++row) {
        std::vector<float> expected(kSize);
        if (is_layer_norm) {
          kernels::kScalarKernels.layer_norm(&x[row * kSize], weight.data(), bias.data(), 1e-5f, kSize,
                                             expected.data());
        } else {
          kernels::kScalarKernels.rms_norm(&x[row * kSize], weight.data(), 1e-5f, kSize, expected.data());
        }
        for (int64_t i = 0; i < kSize; ++i) {
          const float before = accumulate ? x[row * kSize + i] : 0;
          ASSERT_NEAR(result[row * kSize + i], before + expected[i], 1e-5f) << is_layer_norm << accumulate;
        }
      }
    }
  }
}

TEST_P(VulkanKernels, ActivationsAreTheReferences) {
  constexpr int64_t kCount = 1000;
  const auto up = random_values(kCount, 1);
  auto gate = random_values(kCount, 2);
  gate[0] = 200;
  gate[1] = -200;
  for (const bool is_gelu : {false, true}) {
    for (const bool is_gated : {false, true}) {
      const DeviceSlice y = upload(is_gated ? up : gate);
      commands_->begin();
      commands_->dispatch(Shader::kActivate, {is_gelu, is_gated}, static_cast<uint32_t>(kCount), {upload(gate), y}, {4},
                          {});
      const auto result = run_and_read(y);
      std::vector<float> expected = gate;
      (is_gelu ? kernels::kScalarKernels.gelu : kernels::kScalarKernels.silu)(expected.data(), kCount);
      for (int64_t i = 0; i < kCount; ++i) {
        ASSERT_NEAR(result[i], is_gated ? expected[i] * up[i] : expected[i], 1e-5f) << i << is_gelu << is_gated;
      }
    }
  }
}

/// Attention of some heads over a sequence in pages out of order, and what it gives.
struct AttentionCase {
  int64_t head_dim;
  int64_t heads;
  int64_t kv_heads;
  int64_t keys;    ///< before the queries
  int64_t tokens;  ///< queries
  int64_t window;
  int64_t rotary_dim;
  float soft_cap;
  int64_t parts;
};

TEST_P(VulkanKernels, AttentionIsTheReference) {
  constexpr float kScale = 0.2f;
  constexpr int64_t kPageKeys = 64;
  for (const AttentionCase& test :
       {AttentionCase{64, 4, 2, 0, 1, 0, 0, 0, 1}, AttentionCase{64, 4, 2, 100, 1, 0, 64, 0, 2},
        AttentionCase{96, 3, 1, 60, 7, 20, 0, 0, 1}, AttentionCase{256, 2, 2, 70, 3, 0, 0, 5, 1},
        AttentionCase{16, 9, 1, 130, 5, 0, 16, 0, 1}}) {
    const int64_t total = test.keys + test.tokens;
    const int64_t kv_size = test.kv_heads * test.head_dim;
    const int64_t query_size = test.heads * test.head_dim;
    const auto query = random_values(total * query_size, 1);
    const auto key = random_values(total * kv_size, 2);
    const auto value = random_values(total * kv_size, 3);
    std::vector<float> angles;
    for (int64_t i = 0; i < std::max<int64_t>(total * test.rotary_dim / 2, 1); ++i) {
      angles.push_back(std::cos(0.1f * static_cast<float>(i)));
      angles.push_back(std::sin(0.1f * static_cast<float>(i)));
    }
    const std::vector<uint32_t> pages = {3, 0, 2, 1};
    std::vector<uint32_t> rows;
    for (int64_t i = 0; i < total; ++i) {
      rows.push_back(static_cast<uint32_t>(i));
      rows.push_back(0);
    }
    const int64_t group = test.heads / test.kv_heads;
    const int64_t member_blocks = (group + 7) / 8;
    const int64_t members = (group + member_blocks - 1) / member_blocks;
    const int64_t block_tokens = test.tokens == 1 ? 1 : 2;
    std::vector<uint32_t> blocks;
    for (int64_t i = 0; i < test.tokens; i += block_tokens) {
      for (const int64_t number : {test.keys + i, std::min(block_tokens, test.tokens - i), test.keys + i, int64_t{0}}) {
        blocks.push_back(static_cast<uint32_t>(number));
      }
    }
    // What no key was written to is no number.
    const DeviceSlice cache = upload(std::vector<float>(static_cast<size_t>(4 * kPageKeys * kv_size), NAN));
    const DeviceSlice query_slice = upload(query);
    const DeviceSlice parts =
        arena_->allocate(static_cast<uint64_t>(total * test.heads * test.parts * (test.head_dim + 2)) * sizeof(float));
    const DeviceSlice attended = upload(query);
    const DeviceSlice page_slice = upload(pages);
    struct RotatePush {
      uint32_t heads, kv_heads;
      float epsilon;
    };
    struct Push {
      uint32_t kv_heads;
      float scale, soft_cap;
      uint32_t window, part_keys;
    };
    const auto word = [](int64_t number) { return static_cast<uint32_t>(number); };
    commands_->begin();
    commands_->dispatch(Shader::kRotate, {word(test.head_dim), word(test.rotary_dim), 0u},
                        RotatePush{word(test.heads), word(test.kv_heads), 0},
                        {query_slice, upload(key), upload(value), upload(rows), page_slice, upload(angles), {}, cache},
                        {test.heads + 2 * test.kv_heads, total}, {});
    commands_->barrier();
    commands_->dispatch(
        Shader::kAttention, {word(test.head_dim), word(group), word(members), word(block_tokens), test.soft_cap > 0},
        Push{word(test.kv_heads), kScale, test.soft_cap, word(test.window), test.parts > 1 ? 64u : 4096u},
        {query_slice, upload(blocks), page_slice, cache, cache, parts},
        {test.kv_heads * member_blocks, std::ssize(blocks) / 4, test.parts}, {});
    commands_->barrier();
    commands_->dispatch(Shader::kMerge, {word(test.head_dim)}, word(test.parts), {parts, attended}, {test.heads, total},
                        {});
    const auto result = run_and_read(attended);

    const auto turned = [&](const std::vector<float>& x, int64_t heads, int64_t position, int64_t head) {
      std::vector<double> vector;
      const float* from = &x[(position * heads + head) * test.head_dim];
      for (int64_t d = 0; d < test.head_dim; ++d) vector.push_back(from[d]);
      const int64_t pairs = test.rotary_dim / 2;
      for (int64_t d = 0; d < pairs; ++d) {
        const double cos = angles[2 * (position * pairs + d)];
        const double sin = angles[2 * (position * pairs + d) + 1];
        vector[d] = from[d] * cos - from[d + pairs] * sin;
        vector[d + pairs] = from[d + pairs] * cos + from[d] * sin;
      }
      return vector;
    };
    double largest = 0;
    for (int64_t position = test.keys; position < total; ++position) {
      for (int64_t head = 0; head < test.heads; ++head) {
        const auto q = turned(query, test.heads, position, head);
        std::vector<double> expected(static_cast<size_t>(test.head_dim));
        double sum = 0;
        const int64_t first = test.window > 0 ? std::max<int64_t>(position + 1 - test.window, 0) : 0;
        for (int64_t k = first; k <= position; ++k) {
          const auto turned_key = turned(key, test.kv_heads, k, head / group);
          double score = 0;
          for (int64_t d = 0; d < test.head_dim; ++d) score += q[d] * turned_key[d];
          score *= kScale;
          if (test.soft_cap > 0) score = test.soft_cap * std::tanh(score / test.soft_cap);
          sum += std::exp(score);
          for (int64_t d = 0; d < test.head_dim; ++d) {
            expected[d] += std::exp(score) * value[(k * test.kv_heads + head / group) * test.head_dim + d];
          }
        }
        for (int64_t d = 0; d < test.head_dim; ++d) {
          const double error = std::abs(result[(position * test.heads + head) * test.head_dim + d] - expected[d] / sum);
          if (!(error <= largest)) largest = std::isnan(error) ? INFINITY : error;
        }
      }
    }
    // Keys and values are fp16: 2^-11 of each, and of scores of up to 20.
    EXPECT_LE(largest, 0.02) << "head_dim " << test.head_dim << ", " << test.keys << " keys, " << test.tokens
                             << " tokens";
  }
}

/// Rows of logits with many equals: of numbers, of all that may stand between them, and of less and less.
std::vector<float> awkward_logits(int64_t size) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> others = {
      {}, {kInfinity, -0.0f, 0.0f, -1e-40f, 1e-40f, -kInfinity, NAN, -NAN}, {-0.0f, 0.0f}, {-kInfinity, NAN}, {NAN}};
  std::mt19937 engine(static_cast<uint32_t>(size));
  std::vector<float> logits;
  for (size_t row = 0; row < others.size(); ++row) {
    for (int64_t i = 0; i < size; ++i) {
      const bool is_number = row == 0 || (row == 1 && engine() % 2 == 0);
      logits.push_back(is_number ? static_cast<float>(engine() % 1400) / 64 - 11
                                 : others[row][engine() % others[row].size()]);
    }
  }
  return logits;
}

TEST_P(VulkanKernels, TheLargestLogitsAreTheReferences) {
  constexpr int64_t kRows = 5;
  for (const int64_t size : {1, 100, 2048, 2049, 70001}) {
    const VulkanTopLogits top(*device_, kRows, size);
    const auto logits = awkward_logits(size);
    const DeviceSlice input = upload(logits);
    for (const int64_t count : {1, 3, 40, 128}) {
      const int64_t places = VulkanTopLogits::places(count);
      commands_->begin();
      const auto result = run_and_read(top.record(*commands_, input, kRows, size, places));
      ASSERT_EQ(std::ssize(result), 2 * kRows * places);
      const auto* first = reinterpret_cast<const TokenLogit*>(result.data());
      for (int64_t row = 0; row < kRows; ++row) {
        const auto expected = tests::top_logits_of(std::span(logits).subspan(row * size, size), count);
        ASSERT_EQ(tests::pairs_of(VulkanTopLogits::read(first + row * places, count)), tests::pairs_of(expected))
            << count << " of " << size << ", row " << row;
      }
    }
  }
}

}  // namespace
}  // namespace salient::runner
