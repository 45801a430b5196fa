#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/onnx_graph.h"
#include "checkpoint/onnx_matrix.h"

namespace salient::checkpoint {

inline const std::string kMicrosoft = "com.microsoft.";

/// Some elements of a tensor with one dimension.
struct OnnxVector {
  OnnxTensor tensor;
  int64_t first = 0;
  int64_t count = 0;
};

/// y = W x + bias, and the value that x is.
struct OnnxLinear {
  OnnxMatrix matrix;
  std::optional<OnnxVector> bias;
  std::string input;

  OnnxLinear rows(int64_t first, int64_t count) const;
};

/// Follows a graph from its outputs to its inputs, and remembers which nodes have been understood: what the walk has
/// not seen in the end is refused. A cast between float types is taken for the value that it casts.
class OnnxWalk {
 public:
  explicit OnnxWalk(const OnnxModel& model);

  const OnnxGraph& graph() const { return model_.graph; }
  /// What errors call a node, and the model.
  std::string origin(const OnnxNode& node) const;
  std::string origin() const { return model_.path.string(); }
  [[noreturn]] void refuse(const OnnxNode& node, const std::string& why) const;

  /// The value without casts between floats.
  std::string plain(const std::string& value);
  /// The node that makes a value, casts apart; nullptr for what no node makes.
  const OnnxNode* maker(const std::string& value);
  /// The maker, if it is such a node: it counts as understood then.
  const OnnxNode* maker(const std::string& value, const std::string& op);
  void understand(const OnnxNode& node) { understood_.insert(&node); }
  /// All nodes that `value` is made from must be of these kinds and lead to these inputs of the graph.
  void understand_all_before(const std::string& value, const std::set<std::string>& ops,
                             const std::set<std::string>& inputs);

  /// An initializer or the value of a Constant node; nullptr for another value.
  const OnnxTensor* constant(const std::string& value);
  std::optional<double> constant_number(const std::string& value);
  std::optional<std::vector<int64_t>> constant_integers(const std::string& value);

  /// The linear that makes a value: MatMul or MatMulNBits, with a bias added or without, or one of the parts that such
  /// a linear is split into. Throws unsupported for another node.
  OnnxLinear linear(const std::string& value) { return linear_at(value, 0); }

  /// Throws unsupported for the first node that was not understood.
  void refuse_what_was_not_understood() const;

 private:
  OnnxLinear linear_at(const std::string& value, int depth);
  OnnxLinear linear_of(const OnnxNode& node, const std::string& value);
  void take_input_order(OnnxLinear& linear);
  OnnxLinear split_part(const OnnxNode& node, const std::string& value, int depth);

  const OnnxModel& model_;
  std::map<std::string, const OnnxNode*> makers_;
  std::set<const OnnxNode*> understood_;
};

}  // namespace salient::checkpoint
