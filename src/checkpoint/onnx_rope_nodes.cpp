#include "checkpoint/onnx_rope_nodes.h"

#include <fmt/format.h>

#include <algorithm>

namespace salient::checkpoint {

namespace {

OnnxRope whole_table(const OnnxWalk& walk, const OnnxNode& node, const OnnxTensor* cosines, const OnnxTensor* sines) {
  if (!cosines || !sines || cosines->shape.size() != 2 || sines->shape != cosines->shape) {
    walk.refuse(node, "has no tables of cosines and sines");
  }
  OnnxRope rope;
  rope.table = {cosines, sines, 0, cosines->shape[0]};
  return rope;
}

/// The tables of a node If(length > N) that gives one of two pairs of constants.
OnnxRope tables_of_condition(OnnxWalk& walk, const OnnxNode& node, const std::string& cosines,
                             const std::string& sines) {
  const auto chosen = [&](const char* branch, const std::string& value) -> const OnnxTensor* {
    const auto attribute = node.attributes.find(branch);
    const auto output = std::find(node.outputs.begin(), node.outputs.end(), value) - node.outputs.begin();
    if (attribute == node.attributes.end() || !attribute->second.graph) return nullptr;
    const OnnxGraph& graph = *attribute->second.graph;
    if (output >= std::ssize(graph.outputs)) return nullptr;
    const std::string& name = graph.outputs[output];
    if (const auto found = graph.initializers.find(name); found != graph.initializers.end()) return &found->second;
    for (const OnnxNode& made : graph.nodes) {
      const auto constant = made.attributes.find("value");
      if (made.op == "Constant" && made.outputs.size() == 1 && made.outputs[0] == name &&
          constant != made.attributes.end()) {
        return constant->second.tensor.get();
      }
    }
    const auto outside = walk.graph().initializers.find(name);
    return outside == walk.graph().initializers.end() ? nullptr : &outside->second;
  };
  const OnnxNode* greater = walk.maker(node.input(0), "Greater");
  const auto threshold = greater ? walk.constant_number(greater->input(1)) : std::nullopt;
  if (!threshold || !(*threshold >= 1) || *threshold > INT32_MAX) {
    walk.refuse(node, "has a condition other than a length above a constant");
  }
  walk.understand_all_before(greater->input(0), {"Shape", "Gather", "Cast", "ReduceSum", "Squeeze"},
                             {"attention_mask"});
  OnnxRope rope = whole_table(walk, node, chosen("else_branch", cosines), chosen("else_branch", sines));
  rope.long_table = whole_table(walk, node, chosen("then_branch", cosines), chosen("then_branch", sines)).table;
  rope.original_positions = static_cast<int64_t>(*threshold);
  return rope;
}

}  // namespace

OnnxRope read_rope_tables(OnnxWalk& walk, const OnnxNode& node, const std::string& cosines, const std::string& sines) {
  const OnnxNode* condition = walk.maker(cosines, "If");
  if (condition) return tables_of_condition(walk, *condition, walk.plain(cosines), walk.plain(sines));
  return whole_table(walk, node, walk.constant(cosines), walk.constant(sines));
}

void read_rope_positions(OnnxWalk& walk, const OnnxNode& node, const std::string& positions, OnnxRope& rope) {
  if (walk.graph().inputs.contains(positions)) {
    if (positions != "position_ids") walk.refuse(node, fmt::format("has positions {}", positions));
    return;
  }
  const OnnxNode* sum = walk.maker(positions, "Add");
  const OnnxNode* choice = sum ? walk.maker(sum->input(0), "Where") : nullptr;
  const OnnxNode* product = sum ? walk.maker(sum->input(0), "Mul") : nullptr;
  if ((!choice && !product) || sum->input(1) != "position_ids" || rope.original_positions != 0) {
    walk.refuse(node, fmt::format("has positions {} made in a way that is not understood", positions));
  }
  const OnnxNode* flag = product ? walk.maker(product->input(0), "Cast") : choice;
  const OnnxNode* comparison = flag ? walk.maker(flag->input(0), "GreaterOrEqual") : nullptr;
  const OnnxNode* largest = comparison ? walk.maker(comparison->input(0), "ReduceMax") : nullptr;
  const auto threshold = comparison ? walk.constant_integers(comparison->input(1)) : std::nullopt;
  const auto offset = walk.constant_integers((choice ? choice : product)->input(1));
  const bool adds_zero_else = !choice || walk.constant_integers(choice->input(2)) == std::vector<int64_t>{0};
  if (!largest || largest->input(0) != "position_ids" || !threshold || threshold->size() != 1 || threshold != offset ||
      !adds_zero_else || threshold->front() < 1 || threshold->front() >= rope.table.count) {
    walk.refuse(choice ? *choice : *product, "offsets positions in a way that is not understood");
  }
  rope.original_positions = threshold->front();
  rope.long_table = rope.table;
  rope.long_table.first = rope.original_positions;
  rope.long_table.count -= rope.original_positions;
  rope.table.count = rope.original_positions;
}

}  // namespace salient::checkpoint
