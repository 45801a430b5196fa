#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/mapped_file.h"
#include "core/tensor.h"

namespace salient::checkpoint {

/// A tensor as its file stores it.
struct StoredTensor {
  core::TensorView view;
  std::shared_ptr<const core::MappedFile> file;
  /// Above 0 for the q and k projections of llama-architecture GGUF files, which store the rows of each of
  /// this many heads with the two rotary halves interleaved: logical row h*d + half*(d/2) + i is stored row
  /// h*d + 2*i + half.
  int64_t rotary_heads = 0;
  /// What the format adds to every element: 1 for the norms of Gemma in GGUF. `Checkpoint::vector` takes it off.
  float added = 0;

  /// The stored row that holds logical row `row`.
  int64_t stored_row(int64_t row) const;
};

/// A quantized linear as its format describes it. The description has been checked; the codes are unpacked when they
/// are asked for.
struct StoredQuantized : core::QuantizedMatrix {
  uint64_t bytes = 0;  ///< that it takes in the file, where `tensors` does not count them
};

/// What a folder of ONNX Runtime's generate() API has for the one who runs its graph.
struct OnnxFolder {
  std::filesystem::path graph;  ///< the decoder's .onnx file
  nlohmann::json genai_config;
  bool rounds_activations = false;  ///< nodes allow int8 activations: their accuracy_level is 4
};

/// A model on disk, whatever its format, in Hugging Face terms: tensor names and config fields are those of
/// transformers; other formats are translated when they are opened. Tensors are views into mapped files:
/// nothing is copied, and every offset and size has been checked against its file.
class Checkpoint {
 public:
  std::filesystem::path path;  ///< as it was opened; errors call the model this
  std::string format;  ///< "safetensors", "awq", "gptq", "compressed-tensors", "gguf", "onnx"; "synthetic" in memory
  nlohmann::json config;
  nlohmann::json generation_config;  ///< an object; empty when the model has none
  std::string tokenizer_json;        ///< empty when the model has none
  nlohmann::json tokenizer_config;   ///< an object, with chat_template inside; empty when there is none
  std::optional<OnnxFolder> onnx;    ///< of the format "onnx"
  std::map<std::string, StoredTensor> tensors;
  /// Matrices that their format does not store as rows of a tensor, by the name of the tensor they would be.
  std::map<std::string, core::DenseMatrix> matrices;
  /// The format forbids to round what quantized linears multiply to int8: MatMulNBits with an accuracy_level of 1 to 3.
  bool float_activations = false;
  std::map<std::string, StoredQuantized> quantized;  ///< by the name of the linear: "model.layers.0.mlp.down_proj"

  bool has(const std::string& name) const { return tensors.contains(name); }

  /// Gives back the memory of the parts of its files that were read: they are read again when they are needed. A model
  /// that is packed layer by layer is then not in memory twice.
  void release_pages() const;

  /// Throws not_found, naming the model and the tensor.
  const StoredTensor& tensor(const std::string& name) const;

  /// A one-dimensional tensor of `size` elements as fp32. Throws invalid_input when its shape differs.
  std::vector<float> vector(const std::string& name, int64_t size) const;

  /// A two-dimensional tensor [out_features, in_features] that is read as fp32 row by row.
  /// Throws invalid_input, naming tensor, found and expected shape.
  core::DenseMatrix matrix(const std::string& name, int64_t out_features, int64_t in_features) const;

  /// The linear layer stored under `prefix`: quantized, or dense as `prefix.weight`; with `prefix.bias` where there is
  /// one. Throws as `matrix` does.
  core::LinearWeights linear(const std::string& prefix, int64_t out_features, int64_t in_features) const;
  /// Throws what `linear` would, without unpacking anything.
  void check_linear(const std::string& prefix, int64_t out_features, int64_t in_features) const;
};

/// Opens a Hugging Face folder (one or sharded safetensors, dense, AutoAWQ, GPTQ or compressed-tensors), an ONNX folder
/// of the generate() API, or a GGUF file. Throws not_found, invalid_input or unsupported, naming file and field.
Checkpoint open_checkpoint(const std::filesystem::path& path);

}  // namespace salient::checkpoint
