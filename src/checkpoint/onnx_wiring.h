#pragma once

#include <set>
#include <string>

#include "checkpoint/onnx_graph.h"

namespace salient::checkpoint {

/// Checks that every value a graph uses is there, made once, and not by a node that needs it, in the graphs inside too.
/// `outer` are the values of the graphs around it. Throws invalid_input, naming the node.
void check_wiring(const OnnxGraph& graph, const std::string& origin, const std::set<std::string>& outer = {});

}  // namespace salient::checkpoint
