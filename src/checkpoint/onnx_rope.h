#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/onnx_graph.h"

namespace salient::checkpoint {

/// Rows [first, first + count) of the tables of cosines and sines, [positions, pairs], that rotary embeddings read.
struct OnnxRopeTable {
  const OnnxTensor* cosines = nullptr;
  const OnnxTensor* sines = nullptr;
  int64_t first = 0;
  int64_t count = 0;

  bool operator==(const OnnxRopeTable&) const = default;
};

/// The tables of a rotary embedding: one, or (longrope) one for texts of up to `original_positions` tokens and one for
/// longer ones.
struct OnnxRope {
  OnnxRopeTable table;
  OnnxRopeTable long_table;
  int64_t original_positions = 0;  ///< 0: there is no long table

  bool operator==(const OnnxRope&) const = default;
};

/// The fields of config.json that make these tables, found from the tables themselves: row p holds m * cos(p * f) and
/// m * sin(p * f), so the first row is the magnitude m, and the angles of rows ever further down give the frequency f
/// ever more precisely. They are rope_theta and rope_scaling as transformers has them (none, llama3 or longrope, whose
/// factors are those of a theta of 10000), or rope_parameters of our own type "frequencies" for other tables.
/// `config` has the sizes. Throws unsupported, beginning with `origin`, for tables that are made in another way.
nlohmann::json recover_rope(const OnnxRope& rope, const nlohmann::json& config, const std::string& origin);

}  // namespace salient::checkpoint
