#include "checkpoint/safetensors_writer.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace salient::checkpoint {
namespace {

using core::DType;
using nlohmann::json;
namespace fs = std::filesystem;

std::vector<std::byte> bytes_of(const std::string& text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

std::string text_of(const StoredTensor& stored) {
  return {reinterpret_cast<const char*>(stored.view.bytes.data()), stored.view.bytes.size()};
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const tests::TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  const std::vector<OutputTensor> tensors = {{"z", DType::kI32, {1, 2}, bytes_of("abcdefgh")},
                                             {"a.b", DType::kU8, {3}, bytes_of("xyz")},
                                             {"empty", DType::kF16, {0}, {}}};
  write_safetensors(path, tensors);
  std::map<std::string, StoredTensor> read;
  add_safetensors_file(path, read);
  ASSERT_EQ(read.size(), 3u);
  for (const OutputTensor& tensor : tensors) {
    EXPECT_EQ(read.at(tensor.name).view.dtype, tensor.dtype);
    EXPECT_EQ(read.at(tensor.name).view.shape, tensor.shape);
    EXPECT_TRUE(std::equal(tensor.bytes.begin(), tensor.bytes.end(), read.at(tensor.name).view.bytes.begin(),
                           read.at(tensor.name).view.bytes.end()));
  }
}

TEST(SafetensorsWriter, WritesTheLayoutOfTheFormat) {
  const tests::TemporaryFolder folder;
  write_safetensors(folder.path() / "file", std::array{OutputTensor{"t", DType::kU8, {3}, bytes_of("xyz")}});
  const std::string bytes = tests::read_text(folder.path() / "file");
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  EXPECT_EQ(header_size % 8, 0u);
  ASSERT_EQ(bytes.size(), 8 + header_size + 3);
  EXPECT_EQ(json::parse(bytes.substr(8, header_size)),
            json::parse(R"({"__metadata__":{"format":"pt"},"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})"));
  EXPECT_EQ(bytes.substr(8 + header_size), "xyz");
}

TEST(F16Tensor, HoldsTheNearestHalves) {
  const OutputTensor tensor = make_f16_tensor("t", {2, 2}, std::array{1.0f, -2.0f, 65504.0f, 1.00048828125f});
  EXPECT_EQ(tensor.name, "t");
  EXPECT_EQ(tensor.dtype, DType::kF16);
  EXPECT_EQ(tensor.shape, (std::vector<int64_t>{2, 2}));
  std::array<uint16_t, 4> halves;
  ASSERT_EQ(tensor.bytes.size(), sizeof halves);
  std::memcpy(halves.data(), tensor.bytes.data(), sizeof halves);
  EXPECT_EQ(halves, (std::array<uint16_t, 4>{0x3c00, 0xc000, 0x7bff, 0x3c00}));  // 1 + 2^-11 is a tie
}

TEST(F16Tensor, NamesAValueThatFp16CannotHold) {
  for (const float value : {65520.0f, -1e6f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    tests::expect_error(core::ErrorKind::kInvalidInput, {"tensor model.norm", "element 1", "65504"}, [&] {
      make_f16_tensor("model.norm", {2}, std::array{1.0f, value});
    });
  }
}

class Assembly : public testing::Test {
 protected:
  /// Two parts with tensors of 4, 4 and 6 bytes, put together in shards of at most this many.
  void assemble(uint64_t shard_bytes) {
    const std::array parts = {folder_.path() / "one", folder_.path() / "two"};
    write_safetensors(parts[0], std::array{OutputTensor{"a", DType::kU8, {4}, bytes_of("aaaa")},
                                           OutputTensor{"b", DType::kU8, {4}, bytes_of("bbbb")}});
    write_safetensors(parts[1], std::array{OutputTensor{"c", DType::kF16, {3}, bytes_of("cccccc")}});
    fs::create_directory(result());
    assemble_safetensors(parts, result(), shard_bytes);
    tests::write_text(result() / "config.json", "{}");
  }
  fs::path result() const { return folder_.path() / "result"; }
  int files() const {
    return static_cast<int>(std::distance(fs::directory_iterator(result()), fs::directory_iterator()));
  }
  void expect_whole() const {
    const Checkpoint checkpoint = open_safetensors_folder(result());
    ASSERT_EQ(checkpoint.tensors.size(), 3u);
    EXPECT_EQ(text_of(checkpoint.tensor("a")), "aaaa");
    EXPECT_EQ(text_of(checkpoint.tensor("b")), "bbbb");
    EXPECT_EQ(text_of(checkpoint.tensor("c")), "cccccc");
    EXPECT_EQ(checkpoint.tensor("c").view.dtype, DType::kF16);
  }

 private:
  tests::TemporaryFolder folder_;
};

TEST_F(Assembly, OfASmallModelIsOneFile) {
  assemble(14);
  EXPECT_EQ(files(), 2);
  EXPECT_TRUE(fs::exists(result() / "model.safetensors"));
  expect_whole();
}

TEST_F(Assembly, OfALargerModelIsShardsOfAtMostTheSize) {
  assemble(8);
  EXPECT_EQ(files(), 4);
  const json index = json::parse(tests::read_text(result() / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 14);
  EXPECT_EQ(index["weight_map"], (json{{"a", "model-00001-of-00002.safetensors"},
                                       {"b", "model-00001-of-00002.safetensors"},
                                       {"c", "model-00002-of-00002.safetensors"}}));
  expect_whole();
}

TEST_F(Assembly, GivesATensorAboveTheSizeItsOwnShard) {
  assemble(5);
  EXPECT_EQ(files(), 5);
  EXPECT_TRUE(fs::exists(result() / "model-00003-of-00003.safetensors"));
  expect_whole();
}

}  // namespace
}  // namespace salient::checkpoint
