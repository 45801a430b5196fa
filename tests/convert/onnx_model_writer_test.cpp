#include "convert/onnx_model_writer.h"

#include <gtest/gtest.h>

#include "checkpoint/onnx_graph.h"
#include "tests/support/temporary_folder.h"

namespace salient::convert {
namespace {

std::vector<std::byte> bytes_of(int64_t count, int seed) {
  std::vector<std::byte> bytes(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
  return bytes;
}

TEST(OnnxModelWriter, WritesWhatIsRead) {
  const tests::TemporaryFolder folder;
  const auto path = folder.path() / "model.onnx";
  constexpr int64_t kLarge = (1 << 20) + 2;
  {
    OnnxModelWriter writer(path);
    writer.add_tensor("small", ElementType::kFloat, {3}, bytes_of(12, 1));
    writer.begin_tensor("large", ElementType::kFloat16, {kLarge / 2});
    writer.append(bytes_of(kLarge - 10, 2));
    writer.append(bytes_of(10, 3));
    writer.add_tensor("last", ElementType::kUint8, {1, 5}, bytes_of(5, 4));
    const std::string one = writer.integers({1, -2});
    EXPECT_EQ(writer.integers({1, -2}), one);
    OnnxGraphMessage branch;
    branch.add_constant("inner", make_constant({}, {7}));
    branch.add_output("inner", ElementType::kInt64, {});
    writer.graph().add_node({"com.microsoft.Made",
                             "/made",
                             {"x", "", "small", "large", "last", one},
                             {"y"},
                             {{"whole", int64_t{-3}}, {"half", 0.5f}, {"body", OnnxSubgraph{branch.finish("b")}}}});
    writer.graph().add_input("x", ElementType::kFloat, {std::string("batch"), int64_t{4}});
    writer.graph().add_output("y", ElementType::kFloat, {int64_t{4}});
    writer.finish();
  }
  const checkpoint::OnnxModel model = checkpoint::read_onnx(path);
  EXPECT_EQ(model.producer, "salient");
  EXPECT_TRUE(model.graph.inputs.contains("x"));
  EXPECT_EQ(model.graph.outputs, std::vector<std::string>{"y"});
  ASSERT_EQ(model.graph.nodes.size(), 2u);  // the constant and the node
  const checkpoint::OnnxNode& node = model.graph.nodes[1];
  EXPECT_EQ(node.op, "com.microsoft.Made");
  EXPECT_EQ(node.inputs[1], "");
  EXPECT_EQ(node.attributes.at("whole").integer, -3);
  EXPECT_EQ(node.attributes.at("half").number, 0.5f);
  EXPECT_EQ(node.attributes.at("body").graph->outputs, std::vector<std::string>{"inner"});
  const auto expect_bytes = [&](const std::string& name, std::vector<std::byte> expected, size_t alignment) {
    const checkpoint::OnnxTensor& tensor = model.graph.initializers.at(name);
    EXPECT_TRUE(std::equal(tensor.bytes.begin(), tensor.bytes.end(), expected.begin(), expected.end())) << name;
    EXPECT_EQ(static_cast<size_t>(tensor.bytes.data() - tensor.file->bytes().data()) % alignment, 0u) << name;
  };
  std::vector<std::byte> large = bytes_of(kLarge - 10, 2);
  for (const std::byte byte : bytes_of(10, 3)) large.push_back(byte);
  expect_bytes("small", bytes_of(12, 1), 64);
  expect_bytes("large", large, 4096);
  expect_bytes("last", bytes_of(5, 4), 64);
  EXPECT_EQ(model.graph.initializers.at("large").shape, std::vector<int64_t>{kLarge / 2});
}

TEST(OnnxModelWriter, LeavesNothingWithoutFinish) {
  const tests::TemporaryFolder folder;
  {
    OnnxModelWriter writer(folder.path() / "model.onnx");
    writer.add_tensor("t", ElementType::kFloat, {3}, bytes_of(12, 1));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace salient::convert
