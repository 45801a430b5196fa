#include "checkpoint/gguf_writer.h"

#include <gtest/gtest.h>

#include "checkpoint/gguf.h"
#include "tests/checkpoint/gguf_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::DType;
using core::ErrorKind;
using tests::expect_error;
namespace fs = std::filesystem;

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

GgufOutputTensor make_tensor(const std::string& name, DType dtype, std::vector<int64_t> shape,
                             const std::string& bytes) {
  return {name, dtype, std::move(shape), [bytes] { return bytes_of(bytes); }};
}

class GgufWriter : public testing::Test {
 protected:
  fs::path path() const { return folder_.path() / "model.gguf"; }
  bool is_empty() const { return fs::directory_iterator(folder_.path()) == fs::directory_iterator(); }

 private:
  tests::TemporaryFolder folder_;
};

/// To the byte what the builder of the reader's tests makes after the format's description.
TEST_F(GgufWriter, WritesTheBytesOfTheFormat) {
  GgufBuilder expected;
  expected.add("a.flag", true)
      .add("a.number", uint32_t{7})
      .add("a.real", 0.5f)
      .add("a.text", "\u2581x")
      .add_array<int32_t>("b.integers", {1, -2})
      .add_array<float>("b.reals", {0.25f})
      .add_array<std::string>("b.texts", {"", "yz"});
  expected.tensor("small", {3}, kGgmlF32, std::string(12, 's'));
  expected.tensor("blocks", {32, 2}, kGgmlQ4_0, std::string(36, 'b'));
  const GgufOutputMetadata metadata = {{"a.flag", true},
                                       {"a.number", uint32_t{7}},
                                       {"a.real", 0.5f},
                                       {"a.text", std::string("\u2581x")},
                                       {"b.integers", std::vector<int32_t>{1, -2}},
                                       {"b.reals", std::vector<float>{0.25f}},
                                       {"b.texts", std::vector<std::string>{"", "yz"}}};
  const uint64_t size = write_gguf(path(), metadata,
                                   {make_tensor("small", DType::kF32, {3}, std::string(12, 's')),
                                    make_tensor("blocks", DType::kQ4_0, {2, 32}, std::string(36, 'b'))},
                                   {}, {});
  const std::string written = tests::read_text(path());
  EXPECT_EQ(size, written.size());
  // The last tensor is padded too, as llama.cpp's own writer does.
  std::string padded = expected.bytes();
  padded.resize((padded.size() + 31) / 32 * 32, '\0');
  EXPECT_EQ(written, padded);
  EXPECT_EQ(parse_gguf(path()).tensors.at("blocks").view.shape, (std::vector<int64_t>{2, 32}));
}

TEST_F(GgufWriter, LeavesNothingWhenItFails) {
  expect_error(ErrorKind::kUnsupported, {"tensor t", "I64", "GGUF does not have"},
               [&] { write_gguf(path(), {}, {make_tensor("t", DType::kI64, {1}, std::string(8, 'x'))}, {}, {}); });
  expect_error(ErrorKind::kInternal, {"tensor t", "5 bytes", "expected 4"},
               [&] { write_gguf(path(), {}, {make_tensor("t", DType::kF32, {1}, std::string(5, 'x'))}, {}, {}); });
  std::stop_source stop;
  stop.request_stop();
  expect_error(ErrorKind::kCancelled, {"interrupted"}, [&] {
    write_gguf(path(), {}, {make_tensor("t", DType::kF32, {1}, std::string(4, 'x'))}, {}, stop.get_token());
  });
  EXPECT_TRUE(is_empty());
}

TEST_F(GgufWriter, KeepsAFileThatExists) {
  tests::write_text(path(), "mine");
  expect_error(ErrorKind::kInvalidInput, {"model.gguf", "exists already"}, [&] { write_gguf(path(), {}, {}, {}, {}); });
  EXPECT_EQ(tests::read_text(path()), "mine");
}

}  // namespace
}  // namespace salient::checkpoint
