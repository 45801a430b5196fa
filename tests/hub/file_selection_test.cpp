#include "hub/file_selection.h"

#include <gtest/gtest.h>

#include <initializer_list>

#include "core/error.h"

namespace salient::hub {
namespace {

/// "format path: file file ...", or the error's kind and sentence.
std::string select(std::initializer_list<const char*> paths, const std::string& wanted = {},
                   const std::string& device = "cpu") {
  std::vector<RemoteFile> files;
  for (const char* path : paths) files.push_back({.path = path, .size = 1});
  try {
    const FileSelection selection = select_files(files, {"owner/name", "main", wanted}, device);
    std::string text = selection.format + " " + selection.path + ":";
    for (const RemoteFile& file : selection.files) text += " " + file.path;
    return text;
  } catch (const core::Error& error) {
    return std::string(core::name_of(error.kind())) + ": " + error.what();
  }
}

TEST(FileSelection, OfSafetensorsLeavesOtherFormatsAndTrainingFilesOut) {
  EXPECT_EQ(select({".gitattributes",
                    "LICENSE",
                    "README.md",
                    "config.json",
                    "generation_config.json",
                    "model.safetensors",
                    "consolidated.safetensors",
                    "pytorch_model.bin",
                    "tf_model.h5",
                    "flax_model.msgpack",
                    "optimizer.pt",
                    "training_args.bin",
                    "trainer_state.json",
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "chat_template.jinja",
                    "modeling_x.py",
                    "onnx/model.onnx",
                    "onnx/config.json",
                    "runs/events",
                    "model-Q4.gguf"}),
            "safetensors : LICENSE README.md config.json generation_config.json model.safetensors tokenizer.json "
            "tokenizer_config.json chat_template.jinja");
}

TEST(FileSelection, WantsEveryShard) {
  EXPECT_EQ(select({"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                    "model.safetensors.index.json"}),
            "safetensors : config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors "
            "model.safetensors.index.json");
  EXPECT_EQ(select({"config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"}),
            "not_found: owner/name: has 1 of the 00002 parts of its weights");
}

TEST(FileSelection, OfAGgufFileIsThatFile) {
  const auto files = {"README.md", "a-Q4_K_M.gguf", "a-Q8_0.gguf", "sub/b.gguf"};
  EXPECT_EQ(select(files, "a-Q8_0.gguf"), "gguf a-Q8_0.gguf: README.md a-Q8_0.gguf");
  EXPECT_EQ(select(files, "sub"), "gguf sub/b.gguf: README.md sub/b.gguf");
  EXPECT_EQ(select(files),
            "invalid_input: owner/name: holds 3 models, name one: owner/name/a-Q4_K_M.gguf, owner/name/a-Q8_0.gguf, "
            "owner/name/sub/b.gguf");
  EXPECT_EQ(select({"only.gguf"}), "gguf only.gguf: only.gguf");
}

// The layout of the 2024 repositories: graph files with names of their own.
constexpr std::initializer_list<const char*> kOnnx = {"LICENSE",
                                                      "README.md",
                                                      "cpu_and_mobile/cpu-int4/genai_config.json",
                                                      "cpu_and_mobile/cpu-int4/config.json",
                                                      "cpu_and_mobile/cpu-int4/configuration_phi3.py",
                                                      "cpu_and_mobile/cpu-int4/phi3-cpu-int4.onnx",
                                                      "cpu_and_mobile/cpu-int4/phi3-cpu-int4.onnx.data",
                                                      "cpu_and_mobile/cpu-int4/tokenizer.json",
                                                      "directml/int4-awq/genai_config.json",
                                                      "directml/int4-awq/model.onnx",
                                                      "directml/int4-awq/model.onnx.data",
                                                      "cuda/fp16/genai_config.json",
                                                      "cuda/fp16/model.onnx"};

TEST(FileSelection, OfAnOnnxFolderTakesAllOfItAndTheLicence) {
  EXPECT_EQ(select(kOnnx, "directml/int4-awq"),
            "onnx directml/int4-awq: LICENSE README.md directml/int4-awq/genai_config.json "
            "directml/int4-awq/model.onnx directml/int4-awq/model.onnx.data");
  EXPECT_EQ(select(kOnnx, "cpu_and_mobile/cpu-int4"),
            "onnx cpu_and_mobile/cpu-int4: LICENSE README.md cpu_and_mobile/cpu-int4/genai_config.json "
            "cpu_and_mobile/cpu-int4/config.json cpu_and_mobile/cpu-int4/phi3-cpu-int4.onnx "
            "cpu_and_mobile/cpu-int4/phi3-cpu-int4.onnx.data cpu_and_mobile/cpu-int4/tokenizer.json");
}

TEST(FileSelection, TakesTheOnlyModelBelowAFolderOrTheOneForTheDevice) {
  EXPECT_TRUE(select(kOnnx, "directml").starts_with("onnx directml/int4-awq: "));
  EXPECT_TRUE(select(kOnnx).starts_with("onnx cpu_and_mobile/cpu-int4: "));
  EXPECT_TRUE(select(kOnnx, "", "cuda").starts_with("onnx cuda/fp16: "));
  EXPECT_EQ(select(kOnnx, "", "npu"),
            "invalid_input: owner/name: holds 3 models, name one: owner/name/cpu_and_mobile/cpu-int4, "
            "owner/name/cuda/fp16, owner/name/directml/int4-awq");
}

TEST(FileSelection, SaysWhichModelsThereAre) {
  EXPECT_EQ(select(kOnnx, "cpu_and_mobile/cpu-int8"),
            "not_found: owner/name: there is no model at cpu_and_mobile/cpu-int8; there are "
            "owner/name/cpu_and_mobile/cpu-int4, owner/name/cuda/fp16, owner/name/directml/int4-awq");
  EXPECT_EQ(select({"config.json", "pytorch_model.bin"}),
            "unsupported: owner/name: its weights are in pytorch_model.bin; Salient reads safetensors, GGUF and ONNX "
            "folders of the generate() API");
  EXPECT_EQ(select({"README.md"}),
            "not_found: owner/name: holds no model: neither safetensors, nor GGUF, nor an ONNX folder of the "
            "generate() API");
  EXPECT_TRUE(select({}).starts_with("not_found: "));
}

}  // namespace
}  // namespace salient::hub
