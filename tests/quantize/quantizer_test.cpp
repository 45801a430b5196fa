#include "quantize/quantizer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <span>
#include <sstream>

#include "checkpoint/safetensors_writer.h"
#include "core/error.h"
#include "runner/cpu_runner.h"
#include "tests/quantize/reference.h"
#include "tests/support/tiny_model.h"

namespace salient::quantize {
namespace {

namespace fs = std::filesystem;
using core::ErrorKind;

std::shared_ptr<const model::Decoder> open_decoder(const fs::path& path) {
  return std::make_shared<model::Decoder>(std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(path)));
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

class QuantizerTest : public testing::Test {
 protected:
  void SetUp() override {
    tests::write_tiny_model(folder_.path() / "model", {.layers = 3, .tied = false});
    decoder_ = open_decoder(folder_.path() / "model");
    for (int32_t text = 0; text < 3; ++text) {
      std::vector<int32_t> tokens;
      for (int32_t i = 0; i < 40 + text; ++i) tokens.push_back((i * 37 + text * 11) % 256);
      calibration_.push_back(std::move(tokens));
    }
  }

  QuantizeOptions options(const std::string& name, Method method = Method::kAwq) const {
    QuantizeOptions options;
    options.steps = steps_of(method, /*clip=*/true);
    options.output = folder_.path() / name;
    return options;
  }
  QuantizeReport run(const QuantizeOptions& options, int threads = 2) {
    core::ThreadPool pool(threads);
    return quantize(decoder_, calibration_, options, pool);
  }
  std::string weights_of(const std::string& name) const {
    return read_file(folder_.path() / name / "model.safetensors");
  }

  /// Expects a run to fail with a sentence that holds all of `parts`, and to leave nothing under the output's name.
  void expect_error(const QuantizeOptions& options, ErrorKind kind, const std::vector<std::string>& parts) {
    const bool existed = fs::exists(options.output);
    try {
      run(options);
      ADD_FAILURE() << "it was taken";
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      for (const std::string& part : parts) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << " is not in: " << error.what();
      }
    }
    EXPECT_EQ(fs::exists(options.output), existed);
  }

  tests::TemporaryFolder folder_;
  std::shared_ptr<const model::Decoder> decoder_;
  std::vector<std::vector<int32_t>> calibration_;
};

TEST_F(QuantizerTest, ATargetGivesLayersThatLoseMostEightBits) {
  QuantizeOptions wanted = options("mixed");
  wanted.format = checkpoint::PackedFormat::kCompressedTensors;
  run(wanted);
  const uint64_t int4_bytes = fs::file_size(folder_.path() / "mixed/model.safetensors");
  fs::remove_all(folder_.path() / "mixed");

  const model::DecoderSpec& spec = decoder_->spec();
  uint64_t layer_weights = 0;
  for (const auto& slot : model::linear_slots(spec)) layer_weights += slot.out_features * slot.in_features;
  wanted.target.bytes = int4_bytes + layer_weights / 2 * 3 / 2;  // room for one layer, not for two
  const QuantizeReport report = run(wanted);
  EXPECT_LE(fs::file_size(folder_.path() / "mixed/model.safetensors"), wanted.target.bytes);
  const auto written = open_decoder(folder_.path() / "mixed");
  double most = 0;
  int wide = 0;
  for (const auto& layer : report.layers) most = std::max(most, layer["sensitivity"].get<double>());
  for (int64_t i = 0; i < spec.layers; ++i) {
    const bool is_wide = report.layers[i]["bits"] == 8;
    wide += is_wide;
    EXPECT_EQ(is_wide, report.layers[i]["sensitivity"] == most) << i;
    for (const auto& slot : model::linear_slots(spec)) {
      const auto weights = written->checkpoint().quantized.at(model::layer_prefix(i) + slot.name);
      EXPECT_EQ(weights.bits, is_wide ? 8 : 4) << slot.name;
    }
  }
  EXPECT_EQ(wide, 1);
  for (const auto& [name, group] : written->checkpoint().config["quantization_config"]["config_groups"].items()) {
    EXPECT_EQ(group["targets"].size(), 7u * (group["weights"]["num_bits"] == 8 ? 1 : 2)) << name;
  }
  EXPECT_GT(*report.divergence, 0);
}

TEST_F(QuantizerTest, SymmetricWeightsHaveNoZeroPointsInTheFolder) {
  QuantizeOptions wanted = options("symmetric", Method::kAwqPlus);
  wanted.steps.symmetric = true;
  expect_error(wanted, ErrorKind::kUnsupported, {"zero points", "compressed-tensors"});
  wanted.format = checkpoint::PackedFormat::kCompressedTensors;
  run(wanted);
  const auto written = open_decoder(folder_.path() / "symmetric");
  for (const auto& [name, tensor] : written->checkpoint().tensors) {
    EXPECT_EQ(name.find("zero_point"), std::string::npos) << name;
  }
  for (const auto& [name, weights] : written->checkpoint().quantized) {
    for (const uint8_t zero : weights.read().zeros) ASSERT_EQ(zero, 8) << name;
  }
}

TEST_F(QuantizerTest, ATargetOutOfReachSaysWhatIsNotAndKeepsTheLayers) {
  QuantizeOptions wanted = options("mixed");
  wanted.target.bytes = 1000;
  expect_error(wanted, ErrorKind::kUnsupported, {"8 bits", "compressed-tensors"});
  wanted.format = checkpoint::PackedFormat::kCompressedTensors;
  expect_error(wanted, ErrorKind::kInvalidInput, {"1000 bytes is out of reach", "int4"});
  wanted.target = {0, 1e-12};
  expect_error(wanted, ErrorKind::kInvalidInput, {"KL divergence of 0.00000 is out of reach", "int8"});
  wanted.target = {0, 100};
  wanted.resume = true;
  const QuantizeReport report = run(wanted);
  EXPECT_EQ(report.resumed_layers, 3);
  for (const auto& layer : report.layers) EXPECT_EQ(layer["bits"], 4);
}

TEST_F(QuantizerTest, RoundToNearestWritesTheRoundedWeightsAndTheOthersAsTheyWere) {
  const QuantizeReport report = run(options("rtn", Method::kRoundToNearest));
  EXPECT_EQ(report.group_size, 64);
  EXPECT_EQ(report.layers.size(), 3u);
  const auto written = open_decoder(folder_.path() / "rtn");
  EXPECT_EQ(written->checkpoint().format, "awq");
  EXPECT_EQ(written->spec().layers, 3);
  const auto stored_bytes = [](const model::Decoder& decoder, const std::string& name) {
    const auto bytes = decoder.checkpoint().tensor(name).view.bytes;
    return std::vector(bytes.begin(), bytes.end());
  };
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
                           "model.layers.2.input_layernorm.weight", "model.layers.2.post_attention_layernorm.weight"}) {
    EXPECT_EQ(stored_bytes(*written, name), stored_bytes(*decoder_, name)) << name;
  }
  const model::DecoderLayer source = decoder_->layer(2);
  const model::DecoderLayer rounded = written->layer(2);
  for (const auto& slot : model::linear_slots(decoder_->spec())) {
    std::vector<float> weights(slot.out_features * slot.in_features);
    std::vector<float> values(weights.size());
    (source.*slot.weights).read_rows(0, slot.out_features, weights.data());
    (rounded.*slot.weights).read_rows(0, slot.out_features, values.data());
    for (size_t first = 0; first < weights.size(); first += 64) {
      const auto group = rounded_group(&weights[first], 64);
      ASSERT_TRUE(std::equal(group.begin(), group.end(), &values[first])) << slot.name;
    }
  }
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder_.path() / "rtn")) bytes += entry.file_size();
  EXPECT_EQ(report.bytes, bytes);
}

TEST_F(QuantizerTest, EachMethodIsNearerToTheModelThanTheOneBefore) {
  core::ThreadPool pool(2);
  const auto logits_of = [&](const std::shared_ptr<const model::Decoder>& decoder) {
    runner::CpuRunner runner(decoder, pool, {.activations = runner::Activations::kFp32});
    runner::Sequence sequence = runner.new_sequence();
    const runner::TokenRun run{calibration_[0], &sequence, runner::Wanted::kAllLogits};
    return runner.forward(std::span(&run, 1));
  };
  const auto expected = logits_of(decoder_);
  double before = std::numeric_limits<double>::infinity();
  for (const auto& [name, method] : {std::pair{"rtn", Method::kRoundToNearest}, std::pair{"awq", Method::kAwq},
                                     std::pair{"awq+", Method::kAwqPlus}}) {
    const QuantizeReport report = run(options(name, method));
    EXPECT_FALSE(fs::exists(folder_.path() / (std::string(name) + ".partial")));
    ASSERT_EQ(report.layers.size(), 3u);
    for (const auto& layer : report.layers) {
      ASSERT_EQ(layer["steps"].size(), method == Method::kRoundToNearest ? 0u : 11u);
      EXPECT_EQ(layer["inputs"].size(), method == Method::kRoundToNearest ? 0u : 4u);
      for (const auto& inputs : layer["inputs"]) {
        EXPECT_EQ(inputs["tokens"], 40 + 41 + 42);
        EXPECT_GT(inputs["effective_rank"].get<double>(), 2) << inputs;
        EXPECT_LE(inputs["effective_rank"].get<double>(), inputs["inputs"].get<double>()) << inputs;
      }
      EXPECT_EQ(layer["channels"].size(), method == Method::kRoundToNearest ? 0u : 4u);
      EXPECT_EQ(layer["weights"].size(), 7u);
      for (const auto& line : layer["steps"])
        EXPECT_LE(line["loss_after"].get<double>(), line["loss_before"].get<double>());
    }
    const auto actual = logits_of(open_decoder(folder_.path() / name));
    double error = 0;
    for (size_t i = 0; i < expected.size(); ++i) error += std::pow(double{actual[i]} - expected[i], 2);
    EXPECT_LT(error, before) << name;
    before = error;
  }
}

TEST_F(QuantizerTest, WritesTheSameBytesForAnyNumberOfThreads) {
  for (const Method method : {Method::kAwq, Method::kAwqPlus}) {
    const std::string prefix = method == Method::kAwq ? "awq-" : "awq+-";
    run(options(prefix + "one", method), 1);
    for (const int threads : {2, 3}) {
      const std::string name = prefix + std::to_string(threads);
      run(options(name, method), threads);
      EXPECT_EQ(weights_of(name), weights_of(prefix + "one")) << threads << " threads";
    }
  }
}

TEST_F(QuantizerTest, AResumedRunWritesTheBytesOfAnUninterruptedOne) {
  for (const Method method : {Method::kAwq, Method::kAwqPlus}) {
    for (const auto format : {checkpoint::PackedFormat::kAwq, checkpoint::PackedFormat::kCompressedTensors}) {
      const std::string prefix = std::string(method == Method::kAwq ? "awq-" : "awq+-") + checkpoint::name_of(format);
      QuantizeOptions whole = options(prefix, method);
      whole.format = format;
      const auto expected = run(whole);
      for (const int64_t finished : {1, 2}) {
        std::stop_source stop;
        QuantizeOptions interrupted = whole;
        interrupted.output += "-" + std::to_string(finished);
        interrupted.stop = stop.get_token();
        interrupted.progress = [&](const core::Progress& progress) {
          if (progress.done == finished) stop.request_stop();
        };
        expect_error(interrupted, ErrorKind::kCancelled, {"--resume"});
        QuantizeOptions resumed = whole;
        resumed.output = interrupted.output;
        resumed.resume = true;
        const auto report = run(resumed, 3);
        EXPECT_EQ(report.resumed_layers, finished);
        EXPECT_EQ(report.layers, expected.layers);
        EXPECT_EQ(weights_of(resumed.output.filename().string()), weights_of(prefix));
      }
    }
  }
}

TEST_F(QuantizerTest, AStopBeforeTheFirstLayerIsObeyed) {
  for (const Method method : {Method::kAwq, Method::kRoundToNearest}) {
    std::stop_source stop;
    stop.request_stop();
    QuantizeOptions stopped = options("stopped", method);
    stopped.stop = stop.get_token();
    expect_error(stopped, ErrorKind::kCancelled, {"interrupted"});
  }
}

TEST_F(QuantizerTest, ResumesOnlyARunOfTheSameSettings) {
  std::stop_source stop;
  QuantizeOptions interrupted = options("output");
  interrupted.identity = {{"text", "first.txt"}};
  interrupted.stop = stop.get_token();
  interrupted.progress = [&](const core::Progress&) { stop.request_stop(); };
  expect_error(interrupted, ErrorKind::kCancelled, {});
  QuantizeOptions resumed = options("output");
  resumed.resume = true;
  resumed.identity = {{"text", "second.txt"}};
  expect_error(resumed, ErrorKind::kInvalidInput, {"cannot be resumed", "calibration", "first.txt", "second.txt"});
  resumed.identity = {{"text", "first.txt"}};
  resumed.group_size = 32;
  expect_error(resumed, ErrorKind::kInvalidInput, {"cannot be resumed", "group_size", "64", "32"});
  resumed.group_size = 0;
  calibration_[1][5] += 1;
  expect_error(resumed, ErrorKind::kInvalidInput, {"cannot be resumed", "calibration"});
}

TEST_F(QuantizerTest, RefusesAnOutputThatExists) {
  fs::create_directories(folder_.path() / "there");
  expect_error(options("there"), ErrorKind::kInvalidInput, {"there", "exists already"});
}

TEST_F(QuantizerTest, RefusesAModelThatIsQuantizedAlready) {
  run(options("rtn", Method::kRoundToNearest));
  decoder_ = open_decoder(folder_.path() / "rtn");
  for (const Method method : {Method::kAwq, Method::kRoundToNearest}) {
    expect_error(options("again", method), ErrorKind::kInvalidInput, {"rtn", "is quantized already"});
  }
}

TEST_F(QuantizerTest, SeesAGgufAsIfItWereNotQuantized) {
  // The same numbers twice: as quantized linears of what calls itself a GGUF, and dense.
  run(options("rtn", Method::kRoundToNearest));
  auto quantized = std::make_shared<checkpoint::Checkpoint>(checkpoint::open_checkpoint(folder_.path() / "rtn"));
  quantized->format = "gguf";
  quantized->config.erase("quantization_config");
  fs::create_directories(folder_.path() / "dense");
  std::ofstream(folder_.path() / "dense" / "config.json") << quantized->config;
  std::vector<checkpoint::OutputTensor> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values) {
    checkpoint::OutputTensor tensor{name, core::DType::kF32, std::move(shape), {}};
    const auto bytes = std::as_bytes(std::span(values));
    tensor.bytes.assign(bytes.begin(), bytes.end());
    tensors.push_back(std::move(tensor));
  };
  for (const auto& [name, linear] : quantized->quantized) {
    std::vector<float> values(linear.out_features * linear.in_features);
    linear.read().dequantize_rows(0, linear.out_features, values.data());
    add(name + ".weight", {linear.out_features, linear.in_features}, values);
  }
  for (const auto& [name, stored] : quantized->tensors) {
    if (!name.ends_with(".weight")) continue;
    const auto& shape = stored.view.shape;
    std::vector<float> values(stored.view.bytes.size() / 2);
    for (size_t i = 0; i < values.size(); ++i) {
      uint16_t bits;
      std::memcpy(&bits, &stored.view.bytes[2 * i], sizeof bits);
      values[i] = core::half_to_float(bits);
    }
    add(name, shape, values);
  }
  checkpoint::write_safetensors(folder_.path() / "dense" / "model.safetensors", tensors);

  decoder_ = std::make_shared<model::Decoder>(quantized);
  run(options("from_gguf"));
  decoder_ = open_decoder(folder_.path() / "dense");
  run(options("from_dense"));
  EXPECT_EQ(weights_of("from_gguf"), weights_of("from_dense"));
}

TEST_F(QuantizerTest, RefusesCalibrationThatCannotBeRun) {
  const auto good = calibration_;
  calibration_.clear();
  expect_error(options("output"), ErrorKind::kInvalidInput, {"calibration"});
  calibration_ = {std::vector<int32_t>(513)};
  expect_error(options("output"), ErrorKind::kInvalidInput, {"model", "513", "512"});
  for (const int32_t token : {-1, 256}) {
    calibration_ = good;
    calibration_[1][3] = token;
    expect_error(options("output"), ErrorKind::kInvalidInput, {"model", std::to_string(token), "256"});
  }
  calibration_ = good;
  calibration_.emplace_back();
  expect_error(options("output"), ErrorKind::kInvalidInput, {"calibration", "empty"});
}

TEST_F(QuantizerTest, RefusesWeightsThatAreNotNumbersAndSaysWhere) {
  auto tensors = tests::tiny_tensors({.layers = 3, .tied = false});
  for (auto& tensor : tensors) {
    if (tensor.name != "model.layers.1.mlp.up_proj.weight") continue;
    tensor.bytes[100] = std::byte{0x00};
    tensor.bytes[101] = std::byte{0x7e};  // NaN in fp16
  }
  const fs::path path = folder_.path() / "model" / "model.safetensors";
  decoder_.reset();
  checkpoint::write_safetensors(path, tensors);
  decoder_ = open_decoder(folder_.path() / "model");
  for (const Method method : {Method::kAwq, Method::kRoundToNearest}) {
    expect_error(options("output", method), ErrorKind::kInvalidInput, {"model.layers.1.mlp.up_proj", "nan"});
  }
}

TEST_F(QuantizerTest, AModelWhoseRotaryFrequenciesAreThoseOfATableIsRefused) {
  auto config = tests::tiny_config({.layers = 3, .tied = false});
  config["rope_parameters"] = {{"rope_type", "frequencies"}, {"frequencies", std::vector<double>(8, 0.5)}};
  std::ofstream(folder_.path() / "model" / "config.json") << config;
  decoder_ = open_decoder(folder_.path() / "model");
  expect_error(options("output", Method::kRoundToNearest), ErrorKind::kUnsupported, {"model", "rotary frequencies"});
}

TEST_F(QuantizerTest, WarnsOfCalibrationWithFewerTokensThanALinearHasInputs) {
  const auto& spec = decoder_->spec();
  const auto widest = static_cast<size_t>(spec.intermediate_size);
  EXPECT_EQ(calibration_warning(spec, std::vector{std::vector<int32_t>(widest - 10), std::vector<int32_t>(10)}), "");
  const std::string warning =
      calibration_warning(spec, std::vector<std::vector<int32_t>>{std::vector<int32_t>(widest - 1)});
  EXPECT_NE(warning.find(std::to_string(widest - 1) + " tokens"), std::string::npos) << warning;
  EXPECT_NE(warning.find(std::to_string(widest) + " inputs"), std::string::npos) << warning;
}

TEST(CoverageWarning, NamesTheInputsThatHadTheFewestTokensForEachDirection) {
  const auto layer = [](double first, double second) {
    return nlohmann::json{{"inputs",
                           {{{"part", "mlp input"}, {"inputs", 500}, {"tokens", 1000}, {"effective_rank", first}},
                            {{"part", "mlp output"}, {"inputs", 900}, {"tokens", 1000}, {"effective_rank", second}}}}};
  };
  EXPECT_EQ(coverage_warning(nlohmann::json::array({layer(120, 10), layer(1, 0)})), "") << "8.3 tokens and more";
  EXPECT_EQ(coverage_warning(nlohmann::json::array()), "");
  const nlohmann::json rounded = {{"steps", nlohmann::json::array()}};
  EXPECT_EQ(coverage_warning(nlohmann::json::array({rounded})), "") << "a layer that was only rounded";
  const std::string warning = coverage_warning(nlohmann::json::array({layer(130, 10), layer(300, 500), layer(400, 1)}));
  for (const char* part : {"1000 tokens", "500 directions", "mlp output of layer 1", "2.0 for each"}) {
    EXPECT_NE(warning.find(part), std::string::npos) << warning;
  }
}

struct GroupCase {
  int64_t hidden_size;
  int64_t intermediate_size;
  int wanted;
  int expected;
};

model::DecoderSpec spec_of(int64_t hidden_size, int64_t intermediate_size) {
  model::DecoderSpec spec;
  spec.hidden_size = hidden_size;
  spec.intermediate_size = intermediate_size;
  spec.heads = hidden_size / 16;
  spec.head_dim = 16;
  return spec;
}

TEST(ChooseGroupSize, TakesTheLargestThatDividesEveryInput) {
  for (const GroupCase& c : {GroupCase{4096, 11008, 0, 128}, GroupCase{576, 1536, 0, 64}, GroupCase{96, 256, 0, 32},
                             GroupCase{4096, 11008, 32, 32}, GroupCase{128, 160, 0, 32}}) {
    EXPECT_EQ(choose_group_size(spec_of(c.hidden_size, c.intermediate_size), c.wanted), c.expected)
        << c.hidden_size << ", " << c.intermediate_size;
  }
}

TEST(ChooseGroupSize, NamesTheInputThatDoesNotDivide) {
  const auto message_of = [](const model::DecoderSpec& spec, int wanted, ErrorKind kind) -> std::string {
    try {
      return "took " + std::to_string(choose_group_size(spec, wanted));
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), kind);
      return error.what();
    }
  };
  EXPECT_EQ(message_of(spec_of(576, 1536), 128, ErrorKind::kUnsupported),
            "group size 128 does not divide hidden_size, which is 576");
  EXPECT_EQ(message_of(spec_of(64, 144), 0, ErrorKind::kUnsupported),
            "group size 32 does not divide intermediate_size, which is 144");
  model::DecoderSpec wide_heads = spec_of(64, 128);
  wide_heads.heads = 3;
  EXPECT_EQ(message_of(wide_heads, 0, ErrorKind::kUnsupported),
            "group size 32 does not divide num_attention_heads * head_dim, which is 48");
  EXPECT_EQ(message_of(spec_of(64, 128), 100, ErrorKind::kInvalidInput), "group size is 100, expected 128, 64 or 32");
}

}  // namespace
}  // namespace salient::quantize
