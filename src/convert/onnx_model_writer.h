#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "convert/onnx_graph_message.h"
#include "core/atomic_output.h"

namespace salient::convert {

/// Writes an ONNX model with its initializers in a file beside it, `<name>.data`, as they come: only the graph is kept
/// in memory. Tensors begin at multiples of 64 bytes, those of more than 1 MiB at multiples of 4,096, so that they can
/// be mapped.
class OnnxModelWriter {
 public:
  explicit OnnxModelWriter(const std::filesystem::path& model_path);

  OnnxGraphMessage& graph() { return graph_; }

  /// Adds an initializer and returns its name.
  std::string add_tensor(const std::string& name, ElementType type, const std::vector<int64_t>& shape,
                         std::span<const std::byte> bytes);
  /// The same for one too large to have in memory: its bytes follow in `append`.
  void begin_tensor(const std::string& name, ElementType type, const std::vector<int64_t>& shape);
  void append(std::span<const std::byte> bytes);

  /// A constant of whole numbers, int64 or int32, inside the model file, made once however often it is asked for.
  /// Returns its name.
  std::string integers(const std::vector<int64_t>& values, ElementType type = ElementType::kInt64);
  std::string integer(int64_t value);

  /// Writes the model file. Throws unsupported when it would be 2 GB or more, which protobuf cannot hold.
  void finish();

 private:
  std::string constant(const std::string& name, const OnnxConstant& constant);
  void expect_tensor_is_whole() const;

  std::filesystem::path path_;
  OnnxGraphMessage graph_;
  core::AtomicFile data_;
  std::string data_name_;
  uint64_t written_ = 0;
  uint64_t tensor_end_ = 0;
  std::set<std::string> constants_;
};

}  // namespace salient::convert
