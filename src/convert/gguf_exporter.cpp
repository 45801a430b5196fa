#include "convert/gguf_exporter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_architecture.h"
#include "checkpoint/gguf_blocks.h"
#include "checkpoint/gguf_writer.h"
#include "checkpoint/packed_parts.h"
#include "convert/gguf_metadata.h"
#include "convert/gguf_vocabulary.h"
#include "convert/spec_comparison.h"
#include "core/error.h"

namespace salient::convert {

using checkpoint::Checkpoint;
using checkpoint::GgufOutputTensor;
using core::DType;
using core::ErrorKind;
using core::fail;
using core::QuantizedTensor;

namespace {

constexpr int kBlockSize = 32;

/// The logical row that a file with the two rotary halves of each head interleaved stores as row `stored`.
int64_t logical_row(int64_t stored, int64_t head_dim) {
  const int64_t in_head = stored % head_dim;
  return stored - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

/// `values`, rows of `row_size`, in the order that the file stores them in.
template <typename T>
std::vector<T> interleave_rows(const std::vector<T>& values, int64_t rows, int64_t heads) {
  if (heads == 0 || values.empty()) return values;
  const auto row_size = static_cast<int64_t>(values.size()) / rows;
  std::vector<T> ordered;
  ordered.reserve(values.size());
  for (int64_t row = 0; row < rows; ++row) {
    const auto first = values.begin() + logical_row(row, rows / heads) * row_size;
    ordered.insert(ordered.end(), first, first + row_size);
  }
  return ordered;
}

std::vector<std::byte> bytes_of(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * static_cast<size_t>(core::info_of(dtype).block_bytes));
  if (dtype == DType::kF32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == DType::kF16 ? core::float_to_half(values[i]) : core::float_to_bfloat16(values[i]);
    std::memcpy(&bytes[2 * i], &half, sizeof half);
  }
  return bytes;
}

/// llama.cpp's number for a file whose matrices are of this dtype for the most part.
uint32_t file_type_of(const std::string& dtype) {
  static const std::map<std::string, uint32_t> numbers = {{"F32", 0},   {"F16", 1},   {"Q4_0", 2}, {"Q4_1", 3},
                                                          {"Q8_0", 7},  {"Q5_0", 8},  {"Q5_1", 9}, {"Q4_K", 15},
                                                          {"Q5_K", 17}, {"Q6_K", 18}, {"BF16", 32}};
  return numbers.at(dtype);
}

class Exporter {
 public:
  Exporter(const model::Decoder& decoder, const GgufExportOptions& options)
      : decoder_(decoder),
        spec_(decoder.spec()),
        source_(decoder.checkpoint()),
        architecture_(checkpoint::architecture_of(spec_.family, source_.path.string()).second),
        options_(options) {}

  GgufExportReport run() {
    GgufDescription description = describe_for_gguf(decoder_);
    description.metadata.merge(describe_vocabulary(source_, spec_));
    tensors_ = std::move(description.tensors);
    add_linear(model::kEmbeddingsName, spec_.vocab_size, spec_.hidden_size);
    for (int64_t i = 0; i < spec_.layers; ++i) add_layer(i);
    add_norm(spec_.names.final_norm, spec_.hidden_size);
    if (!spec_.tied_embeddings) add_linear(model::kHeadName, spec_.vocab_size, spec_.hidden_size);
    const auto most = std::max_element(report_.matrices.begin(), report_.matrices.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    description.metadata["general.file_type"] = file_type_of(most->first);
    write(description.metadata);
    return std::move(report_);
  }

 private:
  void write(const checkpoint::GgufOutputMetadata& metadata) {
    namespace fs = std::filesystem;
    if (fs::exists(options_.output)) {
      fail(ErrorKind::kInvalidInput, "{}: exists already; choose another name or remove it", options_.output.string());
    }
    fs::path unchecked = options_.output;
    unchecked += ".unchecked";
    fs::remove(unchecked);
    report_.bytes = checkpoint::write_gguf(unchecked, metadata, tensors_, options_.progress, options_.stop);
    try {
      const Checkpoint written = checkpoint::open_gguf(unchecked);
      check_same_decoder(spec_, model::read_decoder_spec(written.config, written.generation_config, "the GGUF file"),
                         source_.path.string(), "GGUF");
    } catch (...) {
      fs::remove(unchecked);
      throw;
    }
    fs::rename(unchecked, options_.output);
  }

  void add_layer(int64_t index) {
    const std::string prefix = model::layer_prefix(index);
    for (const model::NormSlot& slot : model::norm_slots(spec_)) add_norm(prefix + slot.name, slot.size);
    for (const model::LinearSlot& slot : model::linear_slots(spec_)) {
      if (slot.first_row == 0) add_linear(prefix + slot.name, slot.stored_rows, slot.in_features);
    }
  }

  void add_norm(const std::string& name, int64_t size) {
    add_vector(name + ".weight", size, 0, architecture_.norms_have_one_added ? 1.0f : 0.0f);
    if (spec_.norm == model::NormKind::kLayer) add_vector(name + ".bias", size, 0, 0);
  }

  void add_vector(const std::string& name, int64_t size, int64_t heads, float added) {
    const auto read = [this, name, size, heads, added] {
      std::vector<float> values = source_.vector(name, size);
      for (float& value : values) value += added;
      return bytes_of(interleave_rows(values, size, heads), DType::kF32);
    };
    tensors_.push_back({architecture_.translate_back(name), DType::kF32, {size}, read});
  }

  /// How many heads' rows are interleaved in the linear; 0: none are.
  int64_t interleaved_heads(const std::string& prefix) const {
    if (!architecture_.rotary_rows_interleaved) return 0;
    if (prefix.ends_with(".q_proj")) return spec_.heads;
    return prefix.ends_with(".k_proj") ? spec_.kv_heads : 0;
  }

  void add_linear(const std::string& prefix, int64_t rows, int64_t columns) {
    const std::string name = prefix + ".weight";
    const int64_t heads = interleaved_heads(prefix);
    GgufOutputTensor tensor{architecture_.translate_back(name), DType::kF32, {rows, columns}, {}};
    const auto stored = source_.tensors.find(name);
    if (stored != source_.tensors.end() && core::is_block_quantized(stored->second.view.dtype) &&
        stored->second.rotary_heads == heads) {
      const std::span<const std::byte> bytes = stored->second.view.bytes;
      tensor.dtype = stored->second.view.dtype;
      tensor.read = [bytes] { return std::vector<std::byte>(bytes.begin(), bytes.end()); };
    } else if (const auto found = source_.quantized.find(prefix); found == source_.quantized.end()) {
      const core::DenseMatrix matrix = source_.matrix(name, rows, columns);
      tensor.dtype = matrix.dtype;
      tensor.read = [matrix, heads] { return dense_bytes(matrix, heads); };
    } else if (columns % kBlockSize != 0) {
      tensor.read = [linear = found->second, heads] {
        const QuantizedTensor weights = linear.read();
        std::vector<float> values(weights.codes.size());
        weights.dequantize_rows(0, weights.out_features, values.data());
        return bytes_of(interleave_rows(values, weights.out_features, heads), DType::kF32);
      };
    } else {
      tensor.dtype = block_type_of(found->second);
      tensor.read = [this, prefix, heads, dtype = tensor.dtype, linear = found->second] {
        return block_bytes(prefix, linear.read(), heads, dtype);
      };
    }
    ++report_.matrices[std::string(core::info_of(tensor.dtype).name)];
    tensors_.push_back(std::move(tensor));
    if (source_.has(prefix + ".bias")) add_vector(prefix + ".bias", rows, heads, 0);
  }

  static std::vector<std::byte> dense_bytes(const core::DenseMatrix& matrix, int64_t heads) {
    std::vector<float> values(static_cast<size_t>(matrix.out_features * matrix.in_features));
    matrix.read_rows(0, matrix.out_features, values.data());
    return bytes_of(interleave_rows(values, matrix.out_features, heads), matrix.dtype);
  }

  static DType block_type_of(const checkpoint::StoredQuantized& linear) {
    if (linear.bits == 8) return DType::kQ8_0;
    const QuantizedTensor weights = linear.read();
    return weights.column_input.empty() && weights.offsets.empty() && checkpoint::is_symmetric(weights) ? DType::kQ4_0
                                                                                                        : DType::kQ4_1;
  }

  std::vector<std::byte> block_bytes(const std::string& prefix, QuantizedTensor weights, int64_t heads, DType dtype) {
    const LinearFormat format = {.bits = dtype == DType::kQ8_0 ? 8 : 4,
                                 .group_size = kBlockSize,
                                 .zeros = dtype == DType::kQ4_1 ? ZeroKind::kOffset : ZeroKind::kMiddle};
    FittedLinear fitted = fit_linear(std::move(weights), format, prefix);
    if (fitted.change && options_.exact) refuse_change(*fitted.change, source_.path.string(), "GGUF");
    if (fitted.change) report_.changes.push_back(*fitted.change);
    QuantizedTensor& result = fitted.weights;
    result.codes = interleave_rows(result.codes, result.out_features, heads);
    result.scales = interleave_rows(result.scales, result.out_features, heads);
    result.offsets = interleave_rows(result.offsets, result.out_features, heads);
    return checkpoint::pack_blocks(dtype, result);
  }

  const model::Decoder& decoder_;
  const model::DecoderSpec& spec_;
  const Checkpoint& source_;
  const checkpoint::GgufArchitecture& architecture_;
  const GgufExportOptions& options_;
  std::vector<GgufOutputTensor> tensors_;
  GgufExportReport report_;
};

}  // namespace

GgufExportReport export_gguf(const model::Decoder& decoder, const GgufExportOptions& options) {
  return Exporter(decoder, options).run();
}

}  // namespace salient::convert
