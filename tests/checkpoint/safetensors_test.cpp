#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include "tests/checkpoint/raw_safetensors.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::DType;
using core::ErrorKind;
using nlohmann::json;
using tests::expect_error;
namespace fs = std::filesystem;

class Safetensors : public testing::Test {
 protected:
  const fs::path& folder() const { return folder_.path(); }
  fs::path file(const std::string& name = "model.safetensors") const { return folder() / name; }

  std::map<std::string, StoredTensor> read(const std::string& header, const std::string& data) const {
    write_raw_safetensors(file(), header, data);
    std::map<std::string, StoredTensor> tensors;
    add_safetensors_file(file(), tensors);
    return tensors;
  }

  /// The file with one tensor "t" whose entry is this must be refused, naming the file and these parts.
  void expect_refused(const std::string& entry, const std::string& data, std::vector<std::string> parts,
                      ErrorKind kind = ErrorKind::kInvalidInput) const {
    parts.insert(parts.begin(), file().string());
    expect_error(kind, parts, [&] { read("{\"t\":" + entry + "}", data); });
  }

  /// A folder with an index over the shards "a" and "b", of one tensor each.
  void write_shards(const json& weight_map) const {
    tests::write_text(file("config.json"), "{}");
    tests::write_text(file("model.safetensors.index.json"), json{{"weight_map", weight_map}}.dump());
    for (const std::string name : {"a", "b"}) {
      write_raw_safetensors(file(name), "{\"" + name + "1\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                            name);
    }
  }
  void expect_folder_refused(ErrorKind kind, const std::vector<std::string>& parts) const {
    expect_error(kind, parts, [&] { open_safetensors_folder(folder()); });
  }

 private:
  tests::TemporaryFolder folder_;
};

std::string text_of(const StoredTensor& stored) {
  return {reinterpret_cast<const char*>(stored.view.bytes.data()), stored.view.bytes.size()};
}

TEST_F(Safetensors, AreViewsOfTheirBytesInTheFile) {
  const auto tensors = read(
      R"({"__metadata__":{"format":"pt"},
          "second":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},
          "first":{"dtype":"I16","shape":[1,2],"data_offsets":[0,4]},
          "nothing":{"dtype":"F32","shape":[0,5],"data_offsets":[7,7]},
          "scalar":{"dtype":"I8","shape":[],"data_offsets":[7,8]}})",
      "abcdefgh");
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(text_of(tensors.at("first")), "abcd");
  EXPECT_EQ(tensors.at("first").view.dtype, DType::kI16);
  EXPECT_EQ(tensors.at("first").view.shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(text_of(tensors.at("second")), "efg");
  EXPECT_EQ(text_of(tensors.at("nothing")), "");
  EXPECT_EQ(text_of(tensors.at("scalar")), "h");
  EXPECT_EQ(tensors.at("first").file->path(), file());
}

TEST_F(Safetensors, HaveTheDtypesOfTheFormat) {
  const std::vector<std::tuple<std::string, DType, int>> dtypes = {
      {"F64", DType::kF64, 8},  {"F32", DType::kF32, 4}, {"F16", DType::kF16, 2}, {"BF16", DType::kBF16, 2},
      {"I64", DType::kI64, 8},  {"I32", DType::kI32, 4}, {"I16", DType::kI16, 2}, {"I8", DType::kI8, 1},
      {"U64", DType::kU64, 8},  {"U32", DType::kU32, 4}, {"U16", DType::kU16, 2}, {"U8", DType::kU8, 1},
      {"BOOL", DType::kBool, 1}};
  for (const auto& [name, dtype, size] : dtypes) {
    const json header = {{"t", {{"dtype", name}, {"shape", {3}}, {"data_offsets", {0, 3 * size}}}}};
    EXPECT_EQ(read(header.dump(), std::string(3 * size, 'x')).at("t").view.dtype, dtype) << name;
  }
}

TEST_F(Safetensors, OfAnUnknownDtypeAreRefused) {
  for (const std::string dtype : {"F8_E4M3", "Q4_0", "f32", ""}) {
    expect_refused("{\"dtype\":\"" + dtype + "\",\"shape\":[1],\"data_offsets\":[0,1]}", "a", {"tensor t", dtype},
                   ErrorKind::kUnsupported);
  }
}

TEST_F(Safetensors, WithALongerHeaderThanTheFileAreRefused) {
  for (const uint64_t size : {uint64_t{3}, uint64_t{1} << 40, ~uint64_t{0}}) {
    std::string bytes(10, '{');
    std::memcpy(bytes.data(), &size, sizeof size);
    tests::write_text(file(), bytes);
    std::map<std::string, StoredTensor> tensors;
    expect_error(ErrorKind::kInvalidInput, {file().string(), std::to_string(size), "only 2 follow"},
                 [&] { add_safetensors_file(file(), tensors); });
  }
}

TEST_F(Safetensors, CutAnywhereAreRefused) {
  const std::string whole = raw_safetensors(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                                            R"("b":{"dtype":"F16","shape":[2,1],"data_offsets":[2,6]}})",
                                            "abcdef");
  for (size_t size = 0; size < whole.size(); ++size) {
    tests::write_text(file(), whole.substr(0, size));
    std::map<std::string, StoredTensor> tensors;
    expect_error(ErrorKind::kInvalidInput, {file().string()}, [&] { add_safetensors_file(file(), tensors); });
  }
}

TEST_F(Safetensors, WhoseHeaderIsNotAnObjectAreRefused) {
  for (const std::string header : {"", "{", "[]", "3", "{\"\xff\":1}"}) {
    expect_error(ErrorKind::kInvalidInput, {file().string(), "header"}, [&] { read(header, "abcd"); });
  }
}

TEST_F(Safetensors, WithAnIncompleteEntryAreRefused) {
  expect_refused("3", "a", {"tensor t"});
  expect_refused(R"({"shape":[1],"data_offsets":[0,1]})", "a", {"tensor t", "dtype"});
  expect_refused(R"({"dtype":"U8","data_offsets":[0,1]})", "a", {"tensor t", "shape"});
  expect_refused(R"({"dtype":"U8","shape":[1]})", "a", {"tensor t", "data_offsets"});
  expect_refused(R"({"dtype":7,"shape":[1],"data_offsets":[0,1]})", "a", {"tensor t"});
  expect_refused(R"({"dtype":"U8","shape":["1"],"data_offsets":[0,1]})", "a", {"tensor t"});
}

TEST_F(Safetensors, WithOffsetsThatAreNotInTheDataAreRefused) {
  for (const std::string offsets : {"[0]", "[0,1,2]", "[1,0]", "[0,3]", "[5,6]", "[-1,0]", "[0,18446744073709551615]",
                                    "[18446744073709551615,0]"}) {
    expect_refused(R"({"dtype":"U8","shape":[1],"data_offsets":)" + offsets + "}", "ab", {"tensor t", offsets});
  }
}

TEST_F(Safetensors, WhoseShapeDoesNotFitTheirOffsetsAreRefused) {
  for (const std::string shape : {"[1]", "[3]", "[]", "[-2]", "[-1,-2]", "[0]", "[9223372036854775807,3]",
                                  "[4294967296,4294967296,2]", "[18446744073709551615]"}) {
    expect_refused(R"({"dtype":"U8","shape":)" + shape + R"(,"data_offsets":[0,2]})", "ab", {"tensor t", shape});
  }
}

TEST_F(Safetensors, WithATensorTwiceAreRefused) {
  expect_error(ErrorKind::kInvalidInput, {file().string(), "tensor t"}, [&] {
    read(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
         "ab");
  });
}

TEST_F(Safetensors, OfSeveralShardsComeTogether) {
  write_shards({{"a1", "a"}, {"b1", "b"}});
  const Checkpoint checkpoint = open_safetensors_folder(folder());
  EXPECT_EQ(checkpoint.format, "safetensors");
  EXPECT_EQ(text_of(checkpoint.tensor("a1")), "a");
  EXPECT_EQ(text_of(checkpoint.tensor("b1")), "b");
}

TEST_F(Safetensors, OfAMissingShardNameIt) {
  write_shards({{"a1", "a"}, {"c1", "c.safetensors"}});
  expect_folder_refused(ErrorKind::kNotFound, {file("c.safetensors").string()});
}

TEST_F(Safetensors, ThatTheirShardLacksAreNamed) {
  write_shards({{"a1", "a"}, {"a2", "a"}});
  expect_folder_refused(ErrorKind::kInvalidInput, {file("a").string(), "no tensor a2"});
}

TEST_F(Safetensors, InAnotherShardThanTheIndexSaysAreNamed) {
  write_shards({{"a1", "a"}, {"b1", "a"}});
  expect_folder_refused(ErrorKind::kInvalidInput, {file("a").string(), "no tensor b1"});
}

TEST_F(Safetensors, InTwoShardsAreRefused) {
  write_shards({{"a1", "a"}, {"b1", "b"}});
  fs::remove(file("b"));
  fs::copy_file(file("a"), file("b"));
  expect_folder_refused(ErrorKind::kInvalidInput, {file("b").string(), "tensor a1"});
}

TEST_F(Safetensors, OutsideTheirFolderAreRefused) {
  for (const std::string shard : {"../a", "/etc/passwd", "sub/a", "", "a/"}) {
    write_shards({{"a1", shard}});
    expect_folder_refused(ErrorKind::kInvalidInput,
                          {file("model.safetensors.index.json").string(), "a1", json(shard).dump()});
  }
  write_shards({{"a1", 7}});
  expect_folder_refused(ErrorKind::kInvalidInput, {"a1 in 7"});
}

TEST_F(Safetensors, NeedAnIndexWithAMap) {
  for (const json& weight_map : {json(), json::object(), json::array({"a"}), json("a")}) {
    write_shards(weight_map);
    expect_folder_refused(ErrorKind::kInvalidInput, {file("model.safetensors.index.json").string(), "weight_map"});
  }
}

TEST_F(Safetensors, ComeWithTheOtherFilesOfTheirFolder) {
  read(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "a");
  tests::write_text(file("config.json"), R"({"model_type":"llama"})");
  Checkpoint checkpoint = open_safetensors_folder(folder());
  EXPECT_EQ(checkpoint.path, folder());
  EXPECT_EQ(checkpoint.config["model_type"], "llama");
  EXPECT_EQ(checkpoint.generation_config, json::object());
  EXPECT_EQ(checkpoint.tokenizer_config, json::object());
  EXPECT_EQ(checkpoint.tokenizer_json, "");

  tests::write_text(file("generation_config.json"), R"({"eos_token_id":7})");
  tests::write_text(file("tokenizer_config.json"), R"({"bos_token":"<s>","chat_template":"old"})");
  tests::write_text(file("tokenizer.json"), "{ \"as\": \"it is\" }\n");
  tests::write_text(file("chat_template.jinja"), "new");
  checkpoint = open_safetensors_folder(folder());
  EXPECT_EQ(checkpoint.generation_config["eos_token_id"], 7);
  EXPECT_EQ(checkpoint.tokenizer_config["bos_token"], "<s>");
  EXPECT_EQ(checkpoint.tokenizer_config["chat_template"], "new");
  EXPECT_EQ(checkpoint.tokenizer_json, "{ \"as\": \"it is\" }\n");
}

TEST_F(Safetensors, OfAFolderWithoutAConfigAreNotAModel) {
  expect_folder_refused(ErrorKind::kNotFound, {folder().string(), "config.json"});
  tests::write_text(file("config.json"), "[1]");
  expect_folder_refused(ErrorKind::kInvalidInput, {file("config.json").string()});
}

TEST_F(Safetensors, AreAskedForWhereThereAreNone) {
  tests::write_text(file("config.json"), "{}");
  expect_folder_refused(ErrorKind::kNotFound, {folder().string(), "model.safetensors"});
  tests::write_text(file("pytorch_model.bin"), "");
  expect_folder_refused(ErrorKind::kUnsupported, {folder().string(), "pytorch_model.bin"});
}

TEST_F(Safetensors, OfAnUnknownQuantizationAreRefused) {
  for (const json& quantization :
       {json{{"quant_method", "aqlm"}}, json{{"quant_method", 4}}, json::object(), json("awq"), json::array()}) {
    tests::write_text(file("config.json"), json{{"quantization_config", quantization}}.dump());
    expect_folder_refused(ErrorKind::kUnsupported,
                          {file("config.json").string(), "quantization_config.quant_method", "expected awq"});
  }
  expect_folder_refused(ErrorKind::kUnsupported, {"quantization_config.quant_method"});
}

}  // namespace
}  // namespace salient::checkpoint
