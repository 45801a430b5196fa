#pragma once

#include <string>

#include "checkpoint/onnx_rope.h"
#include "checkpoint/onnx_walk.h"

namespace salient::checkpoint {

/// The tables that `node` reads as these two values: initializers, or what If(length > N) chooses of two pairs of
/// constants. Throws unsupported, naming the node, for others.
OnnxRope read_rope_tables(OnnxWalk& walk, const OnnxNode& node, const std::string& cosines, const std::string& sines);

/// Checks the positions that `node` turns by. They are an input of the graph, or (longrope) N more than it once its
/// largest is N or more: then the tables for short texts are the first N rows and those for long ones the others.
void read_rope_positions(OnnxWalk& walk, const OnnxNode& node, const std::string& positions, OnnxRope& rope);

}  // namespace salient::checkpoint
