#include "checkpoint/gguf.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/checkpoint/gguf_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::DType;
using core::ErrorKind;
using tests::expect_error;
namespace fs = std::filesystem;

class Gguf : public testing::Test {
 protected:
  fs::path path() const { return folder_.path() / "model.gguf"; }
  GgufFile parse(const GgufBuilder& builder) const {
    builder.write(path());
    return parse_gguf(path());
  }
  void expect_refused(const GgufBuilder& builder, std::vector<std::string> parts,
                      ErrorKind kind = ErrorKind::kInvalidInput) const {
    parts.insert(parts.begin(), path().string());
    expect_error(kind, parts, [&] { parse(builder); });
  }

 private:
  tests::TemporaryFolder folder_;
};

TEST_F(Gguf, MetadataOfEveryTypeIsRead) {
  GgufBuilder builder;
  builder.add("u8", uint8_t{200}).add("i8", int8_t{-100}).add("u16", uint16_t{60000}).add("i16", int16_t{-30000});
  builder.add("u32", uint32_t{4000000000}).add("i32", int32_t{-2000000000}).add("u64", uint64_t{1} << 62);
  builder.add("i64", std::numeric_limits<int64_t>::min()).add("f32", 0.1f).add("f64", 0.1).add("yes", true);
  builder.add("no", false).add("text", "some text").add("nothing", "");
  const GgufFile gguf = parse(builder);
  EXPECT_EQ(gguf.integer("u8"), 200);
  EXPECT_EQ(gguf.integer("i8"), -100);
  EXPECT_EQ(gguf.integer("u16"), 60000);
  EXPECT_EQ(gguf.integer("i16"), -30000);
  EXPECT_EQ(gguf.integer("u32"), 4000000000);
  EXPECT_EQ(gguf.integer("i32"), -2000000000);
  EXPECT_EQ(gguf.integer("u64"), int64_t{1} << 62);
  EXPECT_EQ(gguf.integer("i64"), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(gguf.number("f32"), static_cast<double>(0.1f));
  EXPECT_EQ(gguf.number("f64"), 0.1);
  EXPECT_TRUE(gguf.flag_or("yes", false));
  EXPECT_FALSE(gguf.flag_or("no", true));
  EXPECT_EQ(gguf.string("text"), "some text");
  EXPECT_EQ(gguf.string("nothing"), "");
}

TEST_F(Gguf, ArraysOfEveryElementTypeAreRead) {
  GgufBuilder builder;
  builder.add_array<uint8_t>("u8", {1, 255}).add_array<int8_t>("i8", {-1}).add_array<uint16_t>("u16", {65535});
  builder.add_array<int16_t>("i16", {-2}).add_array<uint32_t>("u32", {4294967295}).add_array<int32_t>("i32", {-3, 4});
  builder.add_array<uint64_t>("u64", {1}).add_array<int64_t>("i64", {-5}).add_array<float>("f32", {0.5f, -2.0f});
  builder.add_array<double>("f64", {0.25}).add_array<std::string>("texts", {"a", "", "c"});
  builder.add_raw("flags", GgufBuilder::kArray, GgufBuilder::plain(7u) + GgufBuilder::plain(uint64_t{2}) + "\1" + '\0');
  builder.add_array<int32_t>("none", {});
  const GgufFile gguf = parse(builder);
  EXPECT_EQ(*gguf.integers("u8"), (std::vector<int64_t>{1, 255}));
  EXPECT_EQ(*gguf.integers("i8"), (std::vector<int64_t>{-1}));
  EXPECT_EQ(*gguf.integers("u16"), (std::vector<int64_t>{65535}));
  EXPECT_EQ(*gguf.integers("i16"), (std::vector<int64_t>{-2}));
  EXPECT_EQ(*gguf.integers("u32"), (std::vector<int64_t>{4294967295}));
  EXPECT_EQ(*gguf.integers("i32"), (std::vector<int64_t>{-3, 4}));
  EXPECT_EQ(*gguf.integers("u64"), (std::vector<int64_t>{1}));
  EXPECT_EQ(*gguf.integers("i64"), (std::vector<int64_t>{-5}));
  EXPECT_EQ(*gguf.numbers("f32"), (std::vector<double>{0.5, -2}));
  EXPECT_EQ(*gguf.numbers("f64"), (std::vector<double>{0.25}));
  EXPECT_EQ(*gguf.strings("texts"), (std::vector<std::string>{"a", "", "c"}));
  EXPECT_EQ(*gguf.integers("flags"), (std::vector<int64_t>{1, 0}));
  EXPECT_TRUE(gguf.integers("none")->empty());
}

TEST_F(Gguf, MetadataOfAnotherKindIsNamed) {
  GgufBuilder builder;
  builder.add("text", "a").add("number", 1.5f).add("integer", int32_t{1});
  const GgufFile gguf = parse(builder);
  expect_error(ErrorKind::kInvalidInput, {path().string(), "text is not a whole number"},
               [&] { gguf.integer("text"); });
  expect_error(ErrorKind::kInvalidInput, {"number is not a whole number"}, [&] { gguf.integer_or("number", 2); });
  expect_error(ErrorKind::kInvalidInput, {"integer is not a string"}, [&] { gguf.string("integer"); });
  expect_error(ErrorKind::kInvalidInput, {"integer is not true or false"}, [&] { gguf.flag_or("integer", true); });
  expect_error(ErrorKind::kInvalidInput, {"text is not a number"}, [&] { gguf.number("text"); });
  expect_error(ErrorKind::kInvalidInput, {"text is not a list of strings"}, [&] { gguf.strings("text"); });
}

TEST_F(Gguf, MetadataThatIsAbsentIsTheDefaultOrNamed) {
  const GgufFile gguf = parse(GgufBuilder());
  EXPECT_EQ(gguf.string_or("key", "b"), "b");
  EXPECT_EQ(gguf.integer_or("key", 3), 3);
  EXPECT_EQ(gguf.number_or("key", 0.5), 0.5);
  EXPECT_TRUE(gguf.flag_or("key", true));
  EXPECT_EQ(gguf.strings("key"), nullptr);
  EXPECT_EQ(gguf.integers("key"), nullptr);
  EXPECT_EQ(gguf.numbers("key"), nullptr);
  expect_error(ErrorKind::kInvalidInput, {path().string(), "key is missing"}, [&] { gguf.string("key"); });
  expect_error(ErrorKind::kInvalidInput, {"key is missing"}, [&] { gguf.integer("key"); });
  expect_error(ErrorKind::kInvalidInput, {"key is missing"}, [&] { gguf.number("key"); });
}

TEST_F(Gguf, TensorsAreViewsWithTheContiguousDimensionLast) {
  GgufBuilder builder;
  builder.tensor("a", {2, 3}, kGgmlF16, "0123456789ab").tensor("b", {32}, kGgmlQ8_0, std::string(34, 'x'));
  const GgufFile gguf = parse(builder);
  const StoredTensor& a = gguf.tensors.at("a");
  EXPECT_EQ(a.view.dtype, DType::kF16);
  EXPECT_EQ(a.view.shape, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(a.view.bytes.data()), a.view.bytes.size()), "0123456789ab");
  EXPECT_EQ(gguf.tensors.at("b").view.dtype, DType::kQ8_0);
  EXPECT_EQ(gguf.tensors.at("b").view.bytes.size(), 34u);
}

TEST_F(Gguf, OfVersionTwoIsReadToo) {
  GgufBuilder builder;
  builder.version = 2;
  builder.add("key", "value");
  EXPECT_EQ(parse(builder).string("key"), "value");
}

TEST_F(Gguf, OfAnotherVersionIsRefused) {
  for (const uint32_t version : {0u, 1u, 4u, 0x03000000u}) {
    GgufBuilder builder;
    builder.version = version;
    expect_refused(builder, {"version " + std::to_string(version)}, ErrorKind::kUnsupported);
  }
}

TEST_F(Gguf, CutAnywhereIsRefused) {
  GgufBuilder builder;
  builder.add("text", "value").add("number", 1.5f).add_array<std::string>("texts", {"a", "bc"});
  builder.add_array<int16_t>("integers", {1, 2}).add("flag", true);
  builder.tensor("a", {2, 1}, kGgmlF32, "01234567").tensor("b", {32}, kGgmlQ8_0, std::string(34, 'x'));
  const std::string whole = builder.bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    tests::write_text(path(), whole.substr(0, size));
    expect_error(ErrorKind::kInvalidInput, {path().string()}, [&] { parse_gguf(path()); });
  }
  tests::write_text(path(), whole);
  EXPECT_NO_THROW(parse_gguf(path()));
}

TEST_F(Gguf, WithAnyByteChangedIsReadOrRefused) {
  GgufBuilder builder;
  builder.add("text", "value").add_array<std::string>("texts", {"a", "bc"}).add("general.alignment", uint32_t{32});
  builder.tensor("a", {2, 1}, kGgmlF32, "01234567");
  const std::string whole = builder.bytes();
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int change : {0x01, 0x80, 0xff}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ change);
      tests::write_text(path(), changed);
      try {
        parse_gguf(path());
      } catch (const core::Error&) {
        // Which of the two it is depends on the byte; any other exception fails the test.
      }
    }
  }
}

TEST_F(Gguf, WithoutItsMagicIsNoModel) {
  for (const std::string text : {"GGU", "GGML....", "FUGG\3\0\0\0"}) {
    tests::write_text(path(), text);
    expect_error(ErrorKind::kInvalidInput, {path().string(), "GGUF"}, [&] { parse_gguf(path()); });
  }
}

TEST_F(Gguf, WithImpossibleCountsIsRefused) {
  for (const uint64_t count : {uint64_t{1}, uint64_t{1} << 32, std::numeric_limits<uint64_t>::max() - 1}) {
    GgufBuilder tensors;
    tensors.add("key", "value");
    tensors.extra_tensors = count;
    expect_refused(tensors, {});
    GgufBuilder metadata;
    metadata.add("key", "value");
    metadata.extra_metadata = count;
    expect_refused(metadata, {});
  }
}

TEST_F(Gguf, WithImpossibleLengthsIsRefused) {
  for (const uint64_t length : {uint64_t{100}, uint64_t{1} << 40, std::numeric_limits<uint64_t>::max()}) {
    const std::string size = GgufBuilder::plain(length);
    expect_refused(GgufBuilder().add_raw("text", GgufBuilder::kString, size), {"text"});
    for (const uint32_t type : {0u, 4u, 8u, 12u}) {
      expect_refused(GgufBuilder().add_raw("list", GgufBuilder::kArray, GgufBuilder::plain(type) + size), {"list"});
    }
  }
}

TEST_F(Gguf, WithAnUnknownValueTypeIsRefused) {
  expect_refused(GgufBuilder().add_raw("key", 13, std::string(16, '\0')), {"key", "type 13"});
  const std::string nested = GgufBuilder::plain(GgufBuilder::kArray) + GgufBuilder::plain(uint64_t{1});
  expect_refused(GgufBuilder().add_raw("key", GgufBuilder::kArray, nested + std::string(16, '\0')), {"key", "type 9"});
}

TEST_F(Gguf, WithAnIntegerAboveInt64IsRefused) {
  expect_refused(GgufBuilder().add("key", uint64_t{1} << 63), {"key", "9223372036854775808"});
}

TEST_F(Gguf, WithANameTwiceIsRefused) {
  expect_refused(GgufBuilder().add("key", 1.0f).add("key", 2.0f), {"key", "twice"});
  expect_refused(GgufBuilder().tensor("t", {1}, kGgmlF32, "0123").tensor("t", {1}, kGgmlF32, "4567"), {"t twice"});
}

TEST_F(Gguf, WithAnImpossibleShapeIsRefused) {
  expect_refused(GgufBuilder().entry("t", {}, kGgmlF32, 0), {"tensor t", "0 dimensions"});
  expect_refused(GgufBuilder().entry("t", {1, 1, 1, 1, 1}, kGgmlF32, 0), {"tensor t", "5 dimensions"});
  expect_refused(GgufBuilder().entry("t", {4, 0}, kGgmlF32, 0), {"tensor t", "dimension 1 is 0"});
  const uint64_t huge = uint64_t{1} << 32;
  expect_refused(GgufBuilder().entry("t", {huge, huge}, kGgmlF32, 0), {"tensor t", "dimension 1"});
  expect_refused(GgufBuilder().entry("t", {3, std::numeric_limits<uint64_t>::max()}, kGgmlF32, 0), {"tensor t"});
  expect_refused(GgufBuilder().entry("t", {33, 32}, kGgmlQ4_0, 0), {"tensor t", "33", "blocks of 32", "Q4_0"});
  expect_refused(GgufBuilder().entry("t", {128, 2}, kGgmlQ6_K, 0), {"tensor t", "128", "blocks of 256"});
}

TEST_F(Gguf, WithAnUnknownTensorTypeIsRefused) {
  for (const uint32_t type : {4u, 9u, 10u, 20u, 1000u}) {
    expect_refused(GgufBuilder().entry("t", {32}, type, 0), {"tensor t", "ggml type " + std::to_string(type)},
                   ErrorKind::kUnsupported);
  }
}

TEST_F(Gguf, WithATensorOutsideItsDataIsRefused) {
  const auto with_offset = [](uint64_t offset) {
    return GgufBuilder().tensor("t", {8}, kGgmlF32, std::string(32, 'x')).entry("u", {8}, kGgmlF32, offset);
  };
  EXPECT_NO_THROW(parse(with_offset(0)));
  expect_refused(with_offset(32), {"tensor u", "offset 32"});
  expect_refused(with_offset(std::numeric_limits<uint64_t>::max() - 31), {"tensor u"});
  expect_refused(with_offset(4).tensor("v", {8}, kGgmlF32, std::string(32, 'x')), {"tensor u", "multiple of 32"});
}

TEST_F(Gguf, FollowsItsAlignment) {
  GgufBuilder builder;
  builder.alignment = 8;
  builder.add("general.alignment", uint32_t{8});
  builder.tensor("a", {1}, kGgmlF32, "0123").tensor("b", {1}, kGgmlF32, "4567");
  const GgufFile gguf = parse(builder);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(gguf.tensors.at("b").view.bytes.data()), 4), "4567");
}

TEST_F(Gguf, WithAnImpossibleAlignmentIsRefused) {
  for (const int64_t alignment : {int64_t{0}, int64_t{-32}, int64_t{33}, int64_t{1} << 40}) {
    GgufBuilder builder;
    builder.add("general.alignment", alignment).tensor("a", {1}, kGgmlF32, "0123");
    expect_refused(builder, {"general.alignment is " + std::to_string(alignment)});
  }
}

}  // namespace
}  // namespace salient::checkpoint
