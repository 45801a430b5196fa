#include "checkpoint/onnx_graph.h"

#include <gtest/gtest.h>

#include "tests/checkpoint/onnx_builder.h"
#include "tests/support/expect_error.h"

namespace salient::checkpoint {
namespace {

using core::ErrorKind;
using tests::BuiltGraph;
using tests::BuiltTensor;
using tests::expect_error;
using tests::ProtoWriter;

class OnnxGraphTest : public testing::Test {
 protected:
  std::filesystem::path file() const { return folder_.path() / "model.onnx"; }
  OnnxModel read_bytes(const std::string& bytes) const {
    tests::write_text(file(), bytes);
    return read_onnx(file());
  }
  OnnxModel read(const BuiltGraph& graph) const { return read_bytes(graph.model()); }
  /// A model with this message as its one initializer.
  OnnxModel read_tensor(const std::string& message) const {
    return read_bytes(ProtoWriter().text(7, ProtoWriter().text(5, message).bytes).bytes);
  }
  void refuse_tensor(const std::string& message, const std::vector<std::string>& parts,
                     ErrorKind kind = ErrorKind::kInvalidInput) const {
    std::vector<std::string> all = parts;
    all.push_back(file().string());
    expect_error(kind, all, [&] { read_tensor(message); });
  }
  void refuse_external(const std::map<std::string, std::string>& external, const std::vector<std::string>& parts,
                       ErrorKind kind = ErrorKind::kInvalidInput) const {
    refuse_tensor(BuiltTensor{"w", tests::kOnnxUint8, {4}, "", external}.message(), parts, kind);
  }

  tests::TemporaryFolder folder_;
};

std::string text_of(const OnnxTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

TEST_F(OnnxGraphTest, HasWhatTheFileHas) {
  BuiltGraph graph;
  graph.inputs = {"x"};
  graph.outputs = {"y"};
  graph.tensors = {tests::integer_tensor("w", {2, 1}, {5, -6})};
  graph.nodes = {{"Add", "/add", {"x", "w"}, {"sum"}, {{"axis", int64_t{-1}}}},
                 {"com.microsoft.Gelu", "/gelu", {"sum", "", "w"}, {"y"}, {{"alpha", 0.5f}}}};
  const OnnxModel model = read(graph);
  EXPECT_EQ(model.producer, "a test");
  EXPECT_EQ(model.graph.inputs, std::set<std::string>{"x"});
  EXPECT_EQ(model.graph.outputs, std::vector<std::string>{"y"});
  const OnnxTensor& tensor = model.graph.initializers.at("w");
  EXPECT_EQ(tensor.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(tensor.dtype(), core::DType::kI64);
  EXPECT_EQ(text_of(tensor), tests::raw_bytes(std::vector<int64_t>{5, -6}));
  ASSERT_EQ(model.graph.nodes.size(), 2u);
  EXPECT_EQ(model.graph.nodes[0].op, "Add");
  EXPECT_EQ(model.graph.nodes[0].attributes.at("axis").integer, -1);
  EXPECT_EQ(model.graph.nodes[1].op, "com.microsoft.Gelu");
  EXPECT_EQ(model.graph.nodes[1].input(1), "");
  EXPECT_EQ(model.graph.nodes[1].input(2), "w");
  EXPECT_EQ(model.graph.nodes[1].input(3), "");
  EXPECT_EQ(model.graph.nodes[1].attributes.at("alpha").number, 0.5f);
}

TEST_F(OnnxGraphTest, ReadsTypedFields) {
  const std::string floats = tests::raw_bytes(std::vector<float>{1.5f, -2});
  ProtoWriter packed;  // int64_data [300, -1]
  packed.put(300);
  packed.put(~uint64_t{0});
  const auto bytes_of = [&](const std::string& message) {
    return text_of(read_tensor(message).graph.initializers.at("t"));
  };
  EXPECT_EQ(bytes_of(ProtoWriter().varint(1, 2).varint(2, 1).text(4, floats).text(8, "t").bytes), floats);
  EXPECT_EQ(bytes_of(ProtoWriter().varint(1, 2).varint(2, 7).text(7, packed.bytes).text(8, "t").bytes),
            tests::raw_bytes(std::vector<int64_t>{300, -1}));
  // One number a field, and half floats as the low bits of an int32.
  EXPECT_EQ(bytes_of(ProtoWriter().varint(1, 2).varint(2, 10).varint(5, 0x3c00).varint(5, 0xc000).text(8, "t").bytes),
            tests::raw_bytes(std::vector<uint16_t>{0x3c00, 0xc000}));
  // Packed dims.
  EXPECT_EQ(read_tensor(ProtoWriter().text(1, "\x02\x03").varint(2, 2).text(8, "t").text(9, "abcdef").bytes)
                .graph.initializers.at("t")
                .shape,
            (std::vector<int64_t>{2, 3}));
}

TEST_F(OnnxGraphTest, ReadsExternalData) {
  tests::write_text(folder_.path() / "weights.data", "0123456789");
  const auto bytes_of = [&](const std::map<std::string, std::string>& external) {
    return text_of(
        read_tensor(BuiltTensor{"w", tests::kOnnxUint8, {4}, "", external}.message()).graph.initializers.at("w"));
  };
  EXPECT_EQ(bytes_of({{"location", "weights.data"}, {"offset", "6"}, {"length", "4"}}), "6789");
  EXPECT_EQ(bytes_of({{"location", "weights.data"}}), "0123");
}

TEST_F(OnnxGraphTest, ExternalDataThatLeadsOutOrIsNotThereIsRefused) {
  tests::write_text(folder_.path() / "weights.data", "0123456789");
  refuse_external({{"location", "../weights.data"}}, {"tensor w", "external_data.location is \"../weights.data\""});
  refuse_external({{"location", "a/../../b"}}, {"external_data.location"});
  refuse_external({{"location", "/etc/passwd"}}, {"external_data.location is \"/etc/passwd\""});
  refuse_external({{"location", "..\\weights"}}, {"external_data.location"});
  refuse_external({{"offset", "0"}}, {"external_data has no location"});
  expect_error(ErrorKind::kNotFound, {(folder_.path() / "other.data").string(), "tensor w"}, [&] {
    read_tensor(BuiltTensor{"w", tests::kOnnxUint8, {4}, "", {{"location", "other.data"}}}.message());
  });
  refuse_external({{"location", "weights.data"}, {"offset", "7"}, {"length", "4"}},
                  {"offset 7 and length 4", "10 bytes"});
  refuse_external({{"location", "weights.data"}, {"offset", "18446744073709551615"}}, {"offset 18446744073709551615"});
  refuse_external({{"location", "weights.data"}, {"offset", "-1"}}, {"offset is \"-1\""});
  refuse_external({{"location", "weights.data"}, {"length", "3"}}, {"has 3 bytes", "ask for 4"});
}

TEST_F(OnnxGraphTest, TensorsThatCannotBeAreRefused) {
  refuse_tensor(BuiltTensor{"w", tests::kOnnxFloat, {-1, 2}, "", {}}.message(), {"tensor w", "dims are [-1, 2]"});
  refuse_tensor(BuiltTensor{"w", tests::kOnnxFloat, {int64_t{1} << 40, int64_t{1} << 40}, "", {}}.message(), {"dims"});
  refuse_tensor(BuiltTensor{"w", tests::kOnnxFloat, {1000000000}, "1234", {}}.message(),
                {"has 4 bytes", "ask for 4000000000"});
  refuse_tensor(BuiltTensor{"w", 8, {1}, "", {}}.message(), {"data_type 8"}, ErrorKind::kUnsupported);
  refuse_tensor(ProtoWriter().text(2, "x").bytes, {"initializer[0]", "data_type has wire type 2, expected 0"});
  refuse_tensor(ProtoWriter().varint(8, 3).bytes, {"name has wire type 0, expected 2"});
}

TEST_F(OnnxGraphTest, WiringThatCannotBeIsRefused) {
  const auto refuse = [&](BuiltGraph graph, const std::vector<std::string>& parts) {
    graph.inputs = {"x"};
    expect_error(ErrorKind::kInvalidInput, parts, [&] { read(graph); });
  };
  const auto weights = tests::integer_tensor("w", {1}, {1});
  refuse({.nodes = {{"Add", "/add", {"x", "b"}, {"y"}}}}, {"node /add (Add) reads b"});
  refuse({.nodes = {{"Add", "/one", {"x", "c"}, {"b"}}, {"Add", "/two", {"x", "b"}, {"c"}}}},
         {"node /one needs its own"});
  refuse({.nodes = {{"Add", "/add", {"y", "x"}, {"y"}}}}, {"node /add needs its own"});
  refuse({.nodes = {{"Add", "/one", {"x"}, {"y"}}, {"Add", "/two", {"x"}, {"y"}}}}, {"node /two makes the value y"});
  refuse({.nodes = {{"Add", "/one", {"x"}, {"w"}}}, .tensors = {weights}}, {"node /one makes the value w"});
  refuse({.tensors = {weights, weights}}, {"has the initializer w twice"});
  BuiltGraph inner;
  inner.nodes = {{"Add", "/inner", {"outside", "nothing"}, {"z"}}};
  refuse({.nodes = {{"Add", "/add", {"x"}, {"outside"}},
                    {"If", "/if", {"x"}, {"y"}, {{"then_branch", tests::BuiltGraphAttribute{inner.message()}}}}}},
         {"then_branch of /if", "node /inner (Add) reads nothing"});
}

TEST_F(OnnxGraphTest, GraphsThatAreNestedTooDeepAreRefused) {
  BuiltGraph graph;
  for (int i = 0; i < 20; ++i) {
    BuiltGraph around;
    around.nodes = {{"If", "/if", {}, {"y"}, {{"then_branch", tests::BuiltGraphAttribute{graph.message()}}}}};
    graph = around;
  }
  expect_error(ErrorKind::kUnsupported, {"nested more than 8 deep"}, [&] { read(graph); });
}

TEST_F(OnnxGraphTest, FilesThatAreNoModelsAreRefused) {
  expect_error(ErrorKind::kInvalidInput, {file().string(), "has no graph"},
               [&] { read_bytes(ProtoWriter().varint(1, 8).bytes); });
  expect_error(ErrorKind::kInvalidInput, {file().string()}, [&] { read_bytes("<html>not found</html>"); });
  const std::string graph = ProtoWriter().text(7, "").bytes;
  expect_error(ErrorKind::kInvalidInput, {"has two graphs"}, [&] { read_bytes(graph + graph); });
}

TEST_F(OnnxGraphTest, AFileThatIsCutOffIsRefused) {
  const std::string whole = tests::DecoderGraph().model();
  for (size_t size = 1; size < whole.size(); size = size < 200 ? size + 1 : size + 197) {
    SCOPED_TRACE(size);
    expect_error(ErrorKind::kInvalidInput, {file().string()}, [&] { read_bytes(whole.substr(0, size)); });
  }
}

TEST_F(OnnxGraphTest, AnyChangedByteIsReadOrRefused) {
  const std::string whole = tests::DecoderGraph().model();
  for (size_t i = 0; i < whole.size(); i += 29) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
    try {
      read_bytes(changed);
    } catch (const core::Error& error) {
      EXPECT_NE(std::string(error.what()).find(folder_.path().string()), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace salient::checkpoint
