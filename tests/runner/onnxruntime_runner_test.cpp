#include "runner/onnxruntime/onnxruntime_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "convert/onnx_exporter.h"
#include "runner/cpu_runner.h"
#include "runner/onnxruntime/dxgi_adapters.h"
#include "tests/support/expect_error.h"
#include "tests/support/log_probabilities.h"
#include "tests/support/onnxruntime.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_quantized.h"

namespace salient::runner {
namespace {

using core::ErrorKind;
using tests::expect_error;
using tests::largest_difference;

/// What the tests run on: "ort-cpu", or what SALIENT_TEST_PROVIDER names.
const OnnxRuntimeProvider& tested_provider() {
  const char* named = std::getenv("SALIENT_TEST_PROVIDER");
  return *find_onnxruntime_provider(named ? named : "ort-cpu");
}

bool is_dml() {
  return std::string_view(tested_provider().device) == "dml";
}

/// Of log-probabilities: fp32 sums in another order, or half floats throughout, of which DirectML makes sums in halves.
double bound() {
  return is_dml() ? 0.15 : 5e-5;
}

std::vector<int32_t> some_tokens(int64_t count, int32_t first = 0) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back((7 * i * i + 3 * i + first) % 250 + 3);
  return tokens;
}

/// WebGPU computes prompts of more than 8 tokens wrongly on Mesa's software driver, also when nothing of ours is
/// between (ONNX Runtime 1.27 from Python): there texts are given to it token by token.
bool computes_prompts() {
  return std::string_view(tested_provider().device) != "webgpu";
}

std::vector<float> run(Runner& runner, Sequence& sequence, std::span<const int32_t> tokens,
                       Wanted wanted = Wanted::kAllLogits, int64_t final_length = 0) {
  std::vector<float> logits;
  const size_t piece = computes_prompts() ? tokens.size() : 1;
  for (size_t done = 0; done < tokens.size(); done += piece) {
    const bool is_last = done + piece == tokens.size();
    const Wanted here = wanted == Wanted::kLastLogits && !is_last ? Wanted::kNothing : wanted;
    const TokenRun one{tokens.subspan(done, piece), &sequence, here, final_length};
    const auto rows = runner.forward(std::span(&one, 1));
    logits.insert(logits.end(), rows.begin(), rows.end());
  }
  return logits;
}

/// A tiny model exported as a generate() folder, in fp32 throughout (for DirectML in fp16), in ONNX Runtime and on the
/// CPU.
class OnnxRuntimeRunners : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = tests::no_onnxruntime(); !reason.empty()) GTEST_SKIP() << reason;
    export_model(shape(), {});
  }

  static tests::TinyShape shape() { return {.tied = false}; }
  std::filesystem::path folder() const { return folder_.path() / "onnx"; }
  std::shared_ptr<const model::Decoder> open(const std::filesystem::path& path) const {
    return std::make_shared<model::Decoder>(
        std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(path)));
  }

  /// Writes the folder anew, of a source whose config.json has these fields too.
  void export_model(const tests::TinyShape& of, const nlohmann::json& fields, int accuracy_level = 0) {
    std::filesystem::remove_all(folder());
    std::filesystem::remove_all(folder_.path() / "source");
    auto source = tests::open_tiny_quantized(folder_.path() / "source", of);
    if (fields.is_object()) source.config.update(fields);
    const model::Decoder decoder(std::make_shared<checkpoint::Checkpoint>(std::move(source)));
    convert::OnnxExportOptions options;
    options.layout = is_dml() ? convert::OnnxLayout::kDml : convert::OnnxLayout::kCpu;
    options.accuracy_level = accuracy_level;
    options.output = folder();
    convert::export_onnx(decoder, options);
  }
  /// Changes genai_config.json.
  template <typename Change>
  void change_config(Change&& change) const {
    nlohmann::json config = tests::read_json(folder() / "genai_config.json");
    change(config);
    std::ofstream(folder() / "genai_config.json") << config;
  }
  void share_buffers(bool shares) const {
    change_config([&](nlohmann::json& config) { config["search"]["past_present_share_buffer"] = shares; });
  }

  OnnxRuntimeRunner make(OnnxRuntimeRunnerOptions options = {}) {
    options.provider = &tested_provider();
    return OnnxRuntimeRunner(open(folder()), pool_, options);
  }
  CpuRunner make_cpu() {
    return CpuRunner(open(folder()), pool_, {.activations = Activations::kFp32, .kv_dtype = core::DType::kF32});
  }

  tests::TemporaryFolder folder_;
  core::ThreadPool pool_{1};
};

TEST_F(OnnxRuntimeRunners, SaysWhatItIs) {
  {
    OnnxRuntimeRunner runner = make();
    EXPECT_EQ(runner.device(), tested_provider().device);
    EXPECT_NE(runner.device_description().find(tested_provider().name), std::string::npos);
    EXPECT_EQ(runner.activations(), Activations::kFp32);
    EXPECT_EQ(runner.kv_dtype(), is_dml() ? core::DType::kF16 : core::DType::kF32);
    EXPECT_EQ(runner.kv_bytes_per_token(), 2 * 2 * 2 * 16 * (is_dml() ? 2 : 4));
    EXPECT_GT(runner.bytes_per_token(), 0);
  }
  export_model(shape(), {}, 4);
  EXPECT_EQ(make().activations(), Activations::kInt8);
}

// WebGPU's library once did not survive the end of its only session.
TEST_F(OnnxRuntimeRunners, AModelIsOpenedAgain) {
  const auto tokens = some_tokens(20);
  std::vector<float> before;
  for (int i = 0; i < 3; ++i) {
    OnnxRuntimeRunner runner = make();
    Sequence sequence = runner.new_sequence();
    const auto logits = run(runner, sequence, tokens, Wanted::kLastLogits);
    EXPECT_EQ(logits, i == 0 ? logits : before);
    before = logits;
  }
}

/// Buffers that a run changes in place, and such that it makes anew.
class OnnxRuntimeBuffers : public OnnxRuntimeRunners, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    OnnxRuntimeRunners::SetUp();
    if (is_dml() && !GetParam()) GTEST_SKIP() << "DirectML takes shared buffers only";
    if (!IsSkipped()) share_buffers(GetParam());
  }
};

INSTANTIATE_TEST_SUITE_P(Both, OnnxRuntimeBuffers, testing::Bool(),
                         [](const auto& shared) { return shared.param ? "shared" : "new"; });

TEST_P(OnnxRuntimeBuffers, LogProbabilitiesAreTheCpus) {
  OnnxRuntimeRunner runner = make();
  CpuRunner cpu = make_cpu();
  // A buffer on a device that gets too small at 256 is computed again as a prompt.
  const int64_t count = computes_prompts() ? 300 : 200;
  const auto tokens = some_tokens(count);
  for (const int64_t piece : {300, 100, 7, 1}) {
    Sequence sequence = runner.new_sequence();
    Sequence on_cpu = cpu.new_sequence();
    for (int64_t done = 0; done < count; done += piece) {
      const auto part = std::span(tokens).subspan(done, std::min(piece, count - done));
      EXPECT_LT(largest_difference(run(runner, sequence, part), run(cpu, on_cpu, part), 256), bound())
          << piece << " tokens after " << done;
    }
  }
}

TEST_P(OnnxRuntimeBuffers, GreedyTokensAreTheCpus) {
  OnnxRuntimeRunner runner = make();
  CpuRunner cpu = make_cpu();
  const auto greedy = [&](Runner& on) {
    Sequence sequence = on.new_sequence();
    std::vector<int32_t> tokens = some_tokens(20);
    std::vector<float> logits = run(on, sequence, tokens, Wanted::kLastLogits);
    for (int i = 0; i < 32; ++i) {
      tokens.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      logits = run(on, sequence, std::span(tokens).last(1), Wanted::kLastLogits);
    }
    return tokens;
  };
  EXPECT_EQ(greedy(runner), greedy(cpu));
}

TEST_P(OnnxRuntimeBuffers, TextsAreRewoundSharedAndBatched) {
  if (!computes_prompts()) GTEST_SKIP() << "what is copied is computed again as a prompt, which is wrong here";
  OnnxRuntimeRunner runner = make();
  CpuRunner cpu = make_cpu();
  const auto tokens = some_tokens(120);
  const auto other = some_tokens(40, 11);
  const auto expected = [&](int64_t kept, std::span<const int32_t> more) {
    Sequence sequence = cpu.new_sequence();
    run(cpu, sequence, std::span(tokens).first(kept), Wanted::kNothing);
    return run(cpu, sequence, more);
  };
  Sequence first = runner.new_sequence();
  run(runner, first, tokens, Wanted::kNothing);
  first.truncate(50);
  EXPECT_LT(largest_difference(run(runner, first, other), expected(50, other), 256), bound());

  // Two that go on from the same beginning, which one of them made.
  Sequence second = runner.new_sequence();
  second.attach(first.pages(), 30);
  EXPECT_LT(largest_difference(run(runner, second, other), expected(30, other), 256), bound());
  first.truncate(45);
  EXPECT_LT(largest_difference(run(runner, first, other), expected(45, other), 256), bound());

  first.truncate(20);
  second.truncate(25);
  const TokenRun runs[] = {{std::span(other).first(9), &first, Wanted::kLastLogits},
                           {std::span(other).first(3), &second, Wanted::kAllLogits}};
  const auto logits = runner.forward(runs);
  ASSERT_EQ(logits.size(), 4u * 256);
  const auto one = expected(20, std::span(other).first(9));
  EXPECT_LT(largest_difference({logits.begin(), logits.begin() + 256}, {one.end() - 256, one.end()}, 256), bound());
  EXPECT_LT(largest_difference({logits.begin() + 256, logits.end()}, expected(25, std::span(other).first(3)), 256),
            bound());
}

TEST_P(OnnxRuntimeBuffers, ATextThatOutgrowsItsRotaryRegimeIsComputedAgain) {
  if (!computes_prompts()) GTEST_SKIP() << "a regime is entered with a prompt, which is wrong here";
  const std::vector<double> short_factors(8, 1.0);
  const std::vector<double> long_factors = {1, 2, 3, 5, 8, 13, 21, 34};
  export_model(
      shape(),
      {{"original_max_position_embeddings", 64},
       {"rope_scaling", {{"rope_type", "longrope"}, {"short_factor", short_factors}, {"long_factor", long_factors}}}});
  share_buffers(GetParam());
  OnnxRuntimeRunner runner = make();
  CpuRunner cpu = make_cpu();
  ASSERT_EQ(runner.spec().original_positions(), 64);
  const auto tokens = some_tokens(90);
  const std::span all(tokens);
  Sequence sequence = runner.new_sequence();
  Sequence on_cpu = cpu.new_sequence();
  const auto compare = [&](std::span<const int32_t> part, int64_t final_length, const char* what) {
    const auto expected = run(cpu, on_cpu, part, Wanted::kAllLogits, final_length);
    EXPECT_LT(largest_difference(run(runner, sequence, part, Wanted::kAllLogits, final_length), expected, 256), bound())
        << what;
  };
  compare(all.first(60), 0, "short");
  for (int64_t i = 60; i < 70; ++i) compare(all.subspan(i, 1), 0, "across the border");
  compare(all.subspan(70), 0, "behind it");
  sequence.truncate(40);
  on_cpu.truncate(40);
  compare(all.subspan(40, 10), 0, "short again");
  sequence.truncate(0);
  on_cpu.truncate(0);
  compare(all.first(20), 90, "the beginning of a long text");
  compare(all.subspan(20, 20), 90, "more of it");
  run(runner, sequence, all.subspan(40, 20), Wanted::kNothing, 90);
  run(cpu, on_cpu, all.subspan(40, 20), Wanted::kNothing, 90);
  compare(all.subspan(60), 90, "its end");
}

TEST_F(OnnxRuntimeRunners, WhatIsWrongLeavesTheTextAsItWas) {
  OnnxRuntimeRunner runner = make({.context = 32});
  Sequence sequence = runner.new_sequence();
  const auto run = [&](std::vector<int32_t> tokens) {
    const TokenRun one{tokens, &sequence};
    return runner.forward(std::span(&one, 1));
  };
  run(some_tokens(30));
  expect_error(ErrorKind::kInvalidInput, {"33 tokens", "32"}, [&] { run(some_tokens(3)); });
  expect_error(ErrorKind::kInvalidInput, {"token 256", "vocabulary of 256"}, [&] { run({256}); });
  EXPECT_EQ(sequence.length(), 30);
  EXPECT_EQ(run(some_tokens(2)).size(), 256u);
}

TEST_F(OnnxRuntimeRunners, WhatAGraphDoesNotLeaveOpenIsRefused) {
  expect_error(ErrorKind::kUnsupported, {tested_provider().device, "int8"},
               [&] { make({.kv_dtype = core::DType::kI8}); });
  expect_error(ErrorKind::kUnsupported, {tested_provider().device, "head"},
               [&] { make({.head = HeadPrecision::kInt8}); });
  export_model(shape(), {}, 4);
  expect_error(ErrorKind::kUnsupported, {"accuracy_level 4", "--accuracy-level 0"}, [&] { make({.exact = true}); });
  const auto source = open(folder_.path() / "source");
  expect_error(ErrorKind::kUnsupported, {"safetensors", tested_provider().device, "salient export --format onnx"},
               [&] { OnnxRuntimeRunner(source, pool_, {.provider = &tested_provider()}); });
}

TEST_F(OnnxRuntimeRunners, AProviderThatTheLibraryDoesNotHaveIsRefused) {
  const auto there = ort::library().providers();
  for (const OnnxRuntimeProvider& provider : onnxruntime_providers()) {
    if (std::find(there.begin(), there.end(), provider.name) != there.end()) continue;
    expect_error(ErrorKind::kUnsupported,
                 {provider.device, ort::library().version(), provider.name, provider.package, "CPUExecutionProvider"},
                 [&] { OnnxRuntimeRunner(open(folder()), pool_, {.provider = &provider}); });
  }
}

TEST_F(OnnxRuntimeRunners, WhatGenaiConfigSaysIsObeyedOrRefused) {
  change_config([](nlohmann::json& config) {
    nlohmann::json& session = config["model"]["decoder"]["session_options"];
    session["graph_optimization_level"] = "ORT_ENABLE_BASIC";
    session["session.intra_op.allow_spinning"] = "0";
    session["enable_cpu_mem_arena"] = false;
    session["provider_options"] = nlohmann::json::parse(R"([{"abacus": {"beads": "10"}}])");
  });
  make();
  const auto refused = [&](ErrorKind kind, const char* key, const nlohmann::json& value, const char* part) {
    const nlohmann::json kept = tests::read_json(folder() / "genai_config.json");
    change_config([&](nlohmann::json& config) { config["model"]["decoder"]["session_options"][key] = value; });
    expect_error(kind, {"genai_config.json", part}, [&] { make(); });
    std::ofstream(folder() / "genai_config.json") << kept;
  };
  refused(ErrorKind::kInvalidInput, "graph_optimization_level", "ORT_ENABLE_MAGIC", "ORT_ENABLE_MAGIC");
  refused(ErrorKind::kUnsupported, "custom_ops_library", "ops.so", "ops.so");
  refused(ErrorKind::kInvalidInput, "provider_options", "dml", "expected a list");
  refused(ErrorKind::kInvalidInput, "provider_options",
          nlohmann::json::array({nlohmann::json::object({{tested_provider().registered, "fast"}})}),
          "expected an object");
  change_config([](nlohmann::json& config) { config["model"]["decoder"]["inputs"]["past_key_names"] = "keys.%d"; });
  expect_error(ErrorKind::kUnsupported, {"model.onnx", "past_key_values.0.key"}, [&] { make(); });
}

TEST_F(OnnxRuntimeRunners, WhatDirectMlLeavesOutIsRefused) {
  if (!is_dml()) GTEST_SKIP() << "of DirectML only";
  share_buffers(false);
  expect_error(ErrorKind::kUnsupported, {"genai_config.json", "past_present_share_buffer"}, [&] { make(); });
  export_model(shape(), {{"model_type", "mistral"}, {"sliding_window", 24}});
  OnnxRuntimeRunner runner = make();
  Sequence sequence = runner.new_sequence();
  run(runner, sequence, some_tokens(24));
  expect_error(ErrorKind::kUnsupported, {"25 tokens", "sees 24", "DirectML"},
               [&] { run(runner, sequence, some_tokens(1)); });
  EXPECT_EQ(sequence.length(), 24);
}

TEST_F(OnnxRuntimeRunners, DirectMlsAdaptersHaveNumbersAndNames) {
  if (!is_dml()) GTEST_SKIP() << "of DirectML only";
  const auto choose = [&](const char* key, const std::string& value) {
    change_config([&](nlohmann::json& config) {
      config["model"]["decoder"]["session_options"]["provider_options"] = {{{"dml", {{key, value}}}}};
    });
  };
  const std::vector<ort::DxgiAdapter> adapters = ort::dxgi_adapters();
  ASSERT_FALSE(adapters.empty());
  choose("luid", adapters.front().luid);
  make();
  choose("luid", "12345:67890");
  expect_error(ErrorKind::kUnsupported,
               {"luid of dml is \"12345:67890\"", adapters.front().luid, adapters.front().name}, [&] { make(); });
  choose("device_index", "0");
  make();
  choose("device_index", "first");
  expect_error(ErrorKind::kUnsupported, {"device_index of dml is \"first\""}, [&] { make(); });
}

/// Folders of other people, and what DirectML is given: the graph turns by positions that are an input.
TEST_F(OnnxRuntimeRunners, OtherPeoplesGraphsRun) {
  if (!computes_prompts()) GTEST_SKIP() << "some are in half floats, which the driver does not have";
  if (is_dml()) GTEST_SKIP() << "most are made for the CPU";
  const auto all = tests::shared_data() / "onnx";
  if (!std::filesystem::exists(all)) GTEST_SKIP() << all << " is not here";
  for (const char* name : {"llama", "mistral01", "phi3medium4k", "phi3mini128k", "phi3mini128k_dml", "phi3mini4k",
                           "smollm2", "smollm2_lm8", "smollm2_tied"}) {
    const auto decoder = open(all / name);
    OnnxRuntimeRunner runner(decoder, pool_, {.provider = &tested_provider()});
    const bool rounds = runner.activations() == Activations::kInt8;
    CpuRunner cpu(decoder, pool_, {.activations = Activations::kFp32, .kv_dtype = runner.kv_dtype()});
    Sequence sequence = runner.new_sequence();
    Sequence on_cpu = cpu.new_sequence();
    const auto tokens = some_tokens(70);
    const int64_t vocab = runner.spec().vocab_size;
    for (const auto& part : {std::span(tokens).first(60), std::span(tokens).subspan(60)}) {
      // Activations in int8, or half floats throughout.
      const double allowed = rounds ? 0.1 : runner.kv_dtype() == core::DType::kF16 ? 0.05 : bound();
      EXPECT_LT(largest_difference(run(runner, sequence, part), run(cpu, on_cpu, part), vocab), allowed) << name;
    }
  }
}

}  // namespace
}  // namespace salient::runner
