#include "checkpoint/packed_writer.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::checkpoint {
namespace {

using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;
namespace fs = std::filesystem;

const PackedSettings kAwq64{PackedFormat::kAwq, 4, 64, false, {}};

class PackedWriterTest : public testing::Test {
 protected:
  fs::path output() const { return folder_.path() / "result"; }
  fs::path source_folder() const { return folder_.path() / "source"; }
  PackedWriter writer(const json& settings, bool resume) const { return {output(), settings, resume}; }

  static std::vector<OutputTensor> part(const std::string& name) {
    return {make_f16_tensor(name, {2}, std::vector<float>{1, 2})};
  }
  Checkpoint source() const {
    Checkpoint checkpoint;
    checkpoint.path = source_folder();
    checkpoint.config = {{"model_type", "llama"}, {"torch_dtype", "bfloat16"}, {"dtype", "bfloat16"}};
    return checkpoint;
  }

 private:
  tests::TemporaryFolder folder_;
};

TEST_F(PackedWriterTest, PutsNothingUnderTheFinalNameBeforeItFinishes) {
  PackedWriter writing = writer({{"method", "awq"}}, false);
  EXPECT_FALSE(writing.has_part("one"));
  writing.write_part("one", part("a"));
  EXPECT_TRUE(writing.has_part("one"));
  EXPECT_FALSE(writing.has_part("two"));
  writing.write_part("two", part("b"));
  EXPECT_FALSE(fs::exists(output()));
  const uint64_t bytes = writing.finish(source(), kAwq64, {"one", "two"});

  uint64_t sum = 0;
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(output())) {
    sum += entry.file_size();
    names.insert(entry.path().filename().string());
  }
  EXPECT_EQ(names, (std::set<std::string>{"config.json", "model.safetensors"}));
  EXPECT_EQ(bytes, sum);
  EXPECT_FALSE(fs::exists(output().string() + ".partial"));
}

TEST_F(PackedWriterTest, WritesAFolderThatOpensAsAwq) {
  PackedWriter writing = writer({}, false);
  writing.write_part("one", part("a"));
  writing.write_part("two", part("b"));
  writing.finish(source(), kAwq64, {"one", "two"});
  const Checkpoint checkpoint = open_checkpoint(output());
  EXPECT_EQ(checkpoint.format, "awq");
  EXPECT_EQ(checkpoint.vector("a", 2), (std::vector<float>{1, 2}));
  EXPECT_EQ(checkpoint.vector("b", 2), (std::vector<float>{1, 2}));
  EXPECT_EQ(checkpoint.config["model_type"], "llama");
  EXPECT_EQ(checkpoint.config["torch_dtype"], "float16");
  EXPECT_EQ(checkpoint.config["dtype"], "float16");
  // AwqConfig.to_transformers_dict of AutoAWQ.
  EXPECT_EQ(checkpoint.config["quantization_config"],
            json::parse(R"({"quant_method":"awq","zero_point":true,"group_size":64,"bits":4,"version":"gemm",)"
                        R"("modules_to_not_convert":null})"));
}

TEST_F(PackedWriterTest, BringsTheOtherFilesOfTheModel) {
  fs::create_directory(source_folder());
  tests::write_text(source_folder() / "special_tokens_map.json", "special");
  tests::write_text(source_folder() / "LICENSE", "licence");
  tests::write_text(source_folder() / "pytorch_model.bin", "weights");
  Checkpoint model = source();
  model.generation_config = {{"eos_token_id", 7}};
  model.tokenizer_config = {{"chat_template", "text"}};
  model.tokenizer_json = "{ \"as\": \"it is\" }";
  PackedWriter writing = writer({}, false);
  writing.write_part("one", part("a"));
  writing.finish(model, kAwq64, {"one"});
  EXPECT_EQ(json::parse(tests::read_text(output() / "generation_config.json")), model.generation_config);
  EXPECT_EQ(json::parse(tests::read_text(output() / "tokenizer_config.json")), model.tokenizer_config);
  EXPECT_EQ(tests::read_text(output() / "tokenizer.json"), model.tokenizer_json);
  EXPECT_EQ(tests::read_text(output() / "special_tokens_map.json"), "special");
  EXPECT_EQ(tests::read_text(output() / "LICENSE"), "licence");
  EXPECT_FALSE(fs::exists(output() / "pytorch_model.bin"));
}

TEST_F(PackedWriterTest, KeepsThePartsOfARunWithTheSameSettings) {
  const json settings = {{"method", "awq"}, {"files", {{"a", {1, 2}}}}};
  {
    PackedWriter writing = writer(settings, false);
    writing.write_part("one", part("a"));
    writing.write_note("one", {{"loss", 0.5}});
  }
  PackedWriter resumed = writer(settings, true);
  EXPECT_TRUE(resumed.has_part("one"));
  EXPECT_EQ(resumed.read_note("one"), (json{{"loss", 0.5}}));
  resumed.write_part("two", part("b"));
  resumed.finish(source(), kAwq64, {"one", "two"});
  EXPECT_EQ(open_checkpoint(output()).tensors.size(), 2u);
}

TEST_F(PackedWriterTest, ReadsAPartInThePlaceOfWhatItWasMadeFrom) {
  for (const PackedFormat format : {PackedFormat::kAwq, PackedFormat::kCompressedTensors}) {
    const PackedSettings settings{format, 4, 64, false, {}};
    core::QuantizedTensor weights;
    weights.out_features = 8;
    weights.in_features = 64;
    weights.group_size = 64;
    for (int i = 0; i < 8 * 64; ++i) weights.codes.push_back(static_cast<uint8_t>(i * 7 % 16));
    weights.scales = {0.5f, 1, 2, 0.25f, 1, 1, 1, 1};
    weights.zeros = {0, 1, 2, 3, 4, 5, 15, 7};
    PackedWriter writing = writer({}, false);
    std::vector<OutputTensor> tensors = pack_linear(settings, weights, "layers.1.up");
    tensors.push_back(part("layers.1.norm").front());
    writing.write_part("one", tensors);

    Checkpoint model = source();
    for (const char* name : {"layers.0.norm", "layers.1.norm", "layers.1.up.weight", "layers.10.norm"}) {
      model.tensors[name] = {};
    }
    model.quantized["layers.0.up"] = {};
    model.quantized["layers.1.up"] = {};
    const Checkpoint read = writing.read_part("one", model, settings, "layers.1.");
    EXPECT_EQ(read.config, model.config);
    EXPECT_FALSE(read.has("layers.1.up.weight"));
    for (const char* name : {"layers.0.norm", "layers.10.norm"}) EXPECT_TRUE(read.has(name)) << name;
    EXPECT_EQ(read.vector("layers.1.norm", 2), (std::vector<float>{1, 2}));
    ASSERT_EQ(read.quantized.size(), 2u);
    const core::QuantizedTensor linear = read.quantized.at("layers.1.up").read();
    EXPECT_EQ(linear.codes, weights.codes);
    EXPECT_EQ(linear.scales, weights.scales);
    EXPECT_EQ(linear.zeros, weights.zeros);
    writing.discard();
  }
}

TEST_F(PackedWriterTest, NamesTheFirstSettingThatDiffers) {
  writer({{"bits", 4}, {"group_size", 64}, {"seed", 0}}, false).write_part("one", part("a"));
  expect_error(ErrorKind::kInvalidInput, {output().string(), "group_size was 64", "is 32 now", "--resume"}, [&] {
    writer({{"bits", 4}, {"group_size", 32}, {"seed", 1}}, true);
  });
  expect_error(ErrorKind::kInvalidInput, {"method was null", "is \"awq\" now"}, [&] {
    writer({{"bits", 4}, {"method", "awq"}}, true);
  });
  EXPECT_TRUE(writer({{"bits", 4}, {"group_size", 64}, {"seed", 0}}, true).has_part("one"));
}

TEST_F(PackedWriterTest, RefusesToResumeFromADamagedRecord) {
  writer({{"bits", 4}}, false).write_part("one", part("a"));
  for (const char* record : {"{", "[1]", "7"}) {
    tests::write_text(output().string() + ".partial/settings.json", record);
    expect_error(ErrorKind::kInvalidInput, {"settings.json"}, [&] { writer({{"bits", 4}}, true); });
  }
}

TEST_F(PackedWriterTest, StartsAgainWithoutResume) {
  writer({{"bits", 4}}, false).write_part("one", part("a"));
  EXPECT_FALSE(writer({{"bits", 4}}, false).has_part("one"));
}

TEST_F(PackedWriterTest, StartsWhereThereIsNothingToResume) {
  EXPECT_FALSE(writer({{"bits", 4}}, true).has_part("one"));
}

TEST_F(PackedWriterTest, RefusesANameThatIsTaken) {
  fs::create_directory(output());
  expect_error(ErrorKind::kInvalidInput, {output().string(), "exists already"}, [&] { writer({}, false); });
}

}  // namespace
}  // namespace salient::checkpoint
