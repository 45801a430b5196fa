#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "convert/onnx_model_writer.h"
#include "core/tensor.h"

namespace salient::convert {

/// The bytes of numbers as kFloat, which is exact, or as kFloat16, to nearest. Throws unsupported, beginning with
/// `origin`, for a number too large for fp16.
std::vector<std::byte> encode_numbers(std::span<const float> numbers, ElementType type, const std::string& origin);

/// Adds an initializer with one dimension.
std::string add_vector(OnnxModelWriter& model, const std::string& name, std::span<const float> numbers,
                       ElementType type, const std::string& origin);

/// Adds the matrix [out_features, in_features] of a linear as an initializer, some rows in memory at a time.
std::string add_rows(OnnxModelWriter& model, const std::string& name, const core::LinearWeights& weights,
                     ElementType type, const std::string& origin);

/// The same transposed, [in_features, out_features], some columns in memory at a time.
std::string add_transposed(OnnxModelWriter& model, const std::string& name, const core::LinearWeights& weights,
                           ElementType type, const std::string& origin);

}  // namespace salient::convert
