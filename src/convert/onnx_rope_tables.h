#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "convert/onnx_model_writer.h"
#include "model/decoder_spec.h"

namespace salient::convert {

/// For which execution provider of ONNX Runtime a graph is laid out.
enum class OnnxLayout {
  kCpu,  ///< fp32; query, key and value are one linear where they can be; the attention operator turns them
  kDml,  ///< DirectML: fp16; query, key and value are linears of their own, turned by operators of their own
};

/// The values of a graph that turn queries and keys.
struct OnnxRopeValues {
  std::string cosines;    ///< [positions, rotary_dim / 2]
  std::string sines;      ///< the same
  std::string positions;  ///< rows of the tables for each token; with kDml
};

/// Adds the tables of every rotary embedding of a model up to its longest text. Where long texts have frequencies of
/// their own: with kCpu a node If chooses between two tables by `total_length`; with kDml one table follows the other,
/// and the positions of long texts are those of the second.
std::vector<OnnxRopeValues> add_rope_tables(OnnxModelWriter& model, const model::DecoderSpec& spec, OnnxLayout layout,
                                            ElementType numbers, const std::string& total_length);

}  // namespace salient::convert
