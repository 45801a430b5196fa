#include "convert/gguf_exporter.h"

#include <gtest/gtest.h>

#include "checkpoint/gguf.h"
#include "checkpoint/packed_writer.h"
#include "core/thread_pool.h"
#include "runner/cpu_runner.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"

namespace salient::convert {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;
namespace fs = std::filesystem;

std::vector<float> logits_of(const fs::path& path) {
  auto checkpoint = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(path));
  core::ThreadPool pool(1);
  runner::CpuRunner runner(std::make_shared<model::Decoder>(std::move(checkpoint)), pool,
                           {.activations = runner::Activations::kFp32, .kv_dtype = core::DType::kF32});
  runner::Sequence sequence = runner.new_sequence();
  const std::vector<int32_t> ids = {1, 17, 200, 3, 3, 99, 42};
  const runner::TokenRun run{ids, &sequence, runner::Wanted::kAllLogits};
  const auto logits = runner.forward(std::span(&run, 1));
  return {logits.begin(), logits.end()};
}

class GgufExporter : public testing::Test {
 protected:
  /// A tiny model with a tokenizer; `change` may change its config.
  fs::path make_model(const std::function<void(json&)>& change = {}) {
    tests::TinyShape shape;
    shape.vocab_size = 320;
    fs::path folder = folder_.path() / "model";
    fs::remove_all(folder);
    tests::write_tiny_model(folder, shape);
    tests::write_text(folder / "tokenizer.json", tests::byte_level_tokenizer());
    if (change) {
      json config = tests::tiny_config(shape);
      change(config);
      tests::write_text(folder / "config.json", config.dump());
    }
    return folder;
  }
  GgufExportReport run(const fs::path& model, bool exact = false) {
    fs::remove(output());
    const model::Decoder decoder(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(model)));
    return export_gguf(decoder, {output(), exact, {}, {}});
  }
  void expect_refused(const fs::path& model, const std::vector<std::string>& parts, bool exact = false) {
    expect_error(ErrorKind::kUnsupported, parts, [&] { run(model, exact); });
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), files_before_);
  }
  fs::path output() const { return folder_.path() / "out.gguf"; }
  std::ptrdiff_t files_before_ = 1;  ///< in the folder, before a run that is refused

 private:
  tests::TemporaryFolder folder_;
};

TEST_F(GgufExporter, WritesADenseModelWithTheSameLogits) {
  const fs::path model = make_model();
  const GgufExportReport report = run(model);
  EXPECT_EQ(report.matrices, (std::map<std::string, int64_t>{{"F16", 15}}));
  EXPECT_TRUE(report.changes.empty());
  EXPECT_EQ(report.bytes, fs::file_size(output()));
  EXPECT_EQ(logits_of(output()), logits_of(model));
}

TEST_F(GgufExporter, KeepsEveryKindOfRotaryScaling) {
  const json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 256}};
  const json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 128}};
  for (const json& scaling : {json{{"rope_type", "linear"}, {"factor", 2.0}}, yarn, llama3}) {
    const fs::path model = make_model([&](json& config) { config["rope_scaling"] = scaling; });
    run(model);
    const auto before = logits_of(model);
    const auto after = logits_of(output());
    for (size_t i = 0; i < before.size(); ++i) ASSERT_NEAR(after[i], before[i], 1e-4) << scaling;
  }
}

TEST_F(GgufExporter, RefusesAnArchitectureOrARotaryEmbeddingThatGgufCannotSay) {
  expect_refused(make_model([](json& config) {
                   config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"attention_factor", 1.5}};
                 }),
                 {"attention_factor", "GGUF cannot say"});
  expect_refused(make_model([](json& config) {
                   config["rope_scaling"] = {{"rope_type", "frequencies"},
                                             {"frequencies", {1.0, 0.5, 0.25, 0.1, 0.01, 0.01, 0.01, 0.01}}};
                 }),
                 {"frequencies", "GGUF cannot say"});
}

TEST_F(GgufExporter, KeepsAFileThatExists) {
  const fs::path model = make_model();
  run(model);
  const model::Decoder decoder(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(model)));
  expect_error(ErrorKind::kInvalidInput, {"out.gguf", "exists already"}, [&] {
    export_gguf(decoder, {output(), false, {}, {}});
  });
}

TEST_F(GgufExporter, StopsWhenAskedToAndLeavesNothing) {
  const fs::path model = make_model();
  std::stop_source stop;
  stop.request_stop();
  const model::Decoder decoder(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(model)));
  expect_error(ErrorKind::kCancelled, {"interrupted"}, [&] {
    export_gguf(decoder, {output(), false, {}, stop.get_token()});
  });
  EXPECT_FALSE(fs::exists(output()));
}

/// The linears of the tiny model in memory, quantized with `zero` as every zero point.
class QuantizedGgufExporter : public GgufExporter {
 protected:
  std::shared_ptr<checkpoint::Checkpoint> make_source(int bits, uint8_t zero, float scale) {
    auto source = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(make_model()));
    std::vector<std::string> prefixes;
    for (const auto& [name, stored] : source->tensors) {
      if (name.ends_with("_proj.weight")) prefixes.push_back(name.substr(0, name.size() - 7));
    }
    for (const std::string& prefix : prefixes) {
      const auto shape = source->tensors.at(prefix + ".weight").view.shape;
      source->tensors.erase(prefix + ".weight");
      core::QuantizedTensor weights;
      weights.out_features = shape[0];
      weights.in_features = shape[1];
      weights.bits = bits;
      weights.group_size = 64;
      for (int64_t i = 0; i < shape[0] * shape[1]; ++i) {
        weights.codes.push_back(static_cast<uint8_t>((i * 2654435761u >> 7) % (1u << bits)));
      }
      weights.scales.assign(static_cast<size_t>(shape[0] * weights.groups()), scale);
      weights.zeros.assign(weights.scales.size(), zero);
      source->quantized[prefix] = {core::hold(weights)};
    }
    return source;
  }
  GgufExportReport run_on(const std::shared_ptr<checkpoint::Checkpoint>& source, bool exact) {
    fs::remove(output());
    return export_gguf(model::Decoder(source), {output(), exact, {}, {}});
  }
  void expect_same_weights(const checkpoint::Checkpoint& source) const {
    const checkpoint::Checkpoint written = checkpoint::open_checkpoint(output());
    for (const auto& [prefix, linear] : source.quantized) {
      std::vector<float> before(static_cast<size_t>(linear.out_features * linear.in_features));
      std::vector<float> after(before.size());
      linear.read().dequantize_rows(0, linear.out_features, before.data());
      written.quantized.at(prefix).read().dequantize_rows(0, linear.out_features, after.data());
      EXPECT_EQ(before, after) << prefix;
    }
  }
};

TEST_F(QuantizedGgufExporter, SymmetricLinearsStayExactly) {
  for (const auto& [bits, zero, dtype] : {std::tuple{4, 8, "Q4_0"}, std::tuple{8, 128, "Q8_0"}}) {
    const auto source = make_source(bits, static_cast<uint8_t>(zero), 0x1.4p-6f);
    const GgufExportReport report = run_on(source, /*exact=*/true);
    EXPECT_EQ(report.matrices, (std::map<std::string, int64_t>{{dtype, 14}, {"F16", 1}}));
    expect_same_weights(*source);
  }
}

TEST_F(QuantizedGgufExporter, ZeroPointsBecomeOffsetsExactlyWhereFp16HoldsThem) {
  const auto source = make_source(4, 5, 0x1.4p-6f);
  EXPECT_EQ(run_on(source, /*exact=*/true).matrices.at("Q4_1"), 14);
  expect_same_weights(*source);
}

TEST_F(QuantizedGgufExporter, SaysWhatChangesOrRefusesIt) {
  const float scale = 0x1p-7f * (1 + 1023.0f / 1024);  // 11 times it has more bits than fp16
  const auto source = make_source(4, 11, scale);
  const GgufExportReport report = run_on(source, /*exact=*/false);
  ASSERT_EQ(report.changes.size(), 14u);
  EXPECT_GT(report.changes.front().largest_steps, 0);
  EXPECT_LT(report.changes.front().largest_steps, 11 * 0x1p-11);
  expect_error(ErrorKind::kUnsupported, {"model.layers.0.", "GGUF does not hold it exactly", "offsets"},
               [&] { run_on(source, /*exact=*/true); });
  EXPECT_FALSE(fs::exists(output()));
}

/// Goldens of the families, after the way through GGUF.
TEST_F(GgufExporter, KeepsTheLogitsOfEveryFamily) {
  const fs::path tiny = tests::shared_data() / "tiny";
  if (!fs::exists(tiny)) GTEST_SKIP() << tiny << " is not here";
  int models = 0;
  for (const auto& entry : fs::directory_iterator(tiny)) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    SCOPED_TRACE(entry.path().string());
    const GgufExportReport report = run(entry.path());
    EXPECT_TRUE(report.changes.empty());
    const auto before = logits_of(entry.path());
    const auto after = logits_of(output());
    ASSERT_EQ(before.size(), after.size());
    double most = 0;
    for (size_t i = 0; i < before.size(); ++i) most = std::max(most, std::abs(double{before[i]} - after[i]));
    EXPECT_LT(most, 1e-4);
    ++models;
  }
  EXPECT_GE(models, 17);
}

}  // namespace
}  // namespace salient::convert
