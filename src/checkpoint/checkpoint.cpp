#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <system_error>

#include "checkpoint/gguf.h"
#include "checkpoint/gguf_blocks.h"
#include "checkpoint/onnx.h"
#include "checkpoint/safetensors.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;

namespace {

/// Converts `count` stored numbers, or whole blocks of them, to fp32.
void convert_to_float(DType dtype, const std::byte* bytes, int64_t count, float* out) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, bytes, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
    case DType::kBF16:
      for (int64_t i = 0; i < count; ++i) {
        uint16_t bits;
        std::memcpy(&bits, bytes + 2 * i, sizeof bits);
        out[i] = dtype == DType::kF16 ? core::half_to_float(bits) : core::bfloat16_to_float(bits);
      }
      return;
    default:
      dequantize_blocks(dtype, bytes, count, out);
  }
}

bool holds_numbers(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || core::is_block_quantized(dtype);
}

void check_shape(const Checkpoint& checkpoint, const std::string& name, const StoredTensor& stored,
                 const std::vector<int64_t>& expected) {
  if (stored.view.shape != expected) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {} has shape [{}], but the config asks for [{}]",
         checkpoint.path.string(), name, fmt::join(stored.view.shape, ", "), fmt::join(expected, ", "));
  }
  if (!holds_numbers(stored.view.dtype)) {
    fail(ErrorKind::kUnsupported, "{}: tensor {} is stored as {}, which is not supported for weights",
         checkpoint.path.string(), name, core::info_of(stored.view.dtype).name);
  }
}

}  // namespace

int64_t StoredTensor::stored_row(int64_t row) const {
  if (rotary_heads == 0) return row;
  const int64_t head_dim = view.shape[0] / rotary_heads;
  const int64_t in_head = row % head_dim;
  const int64_t half = head_dim / 2;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

void Checkpoint::release_pages() const {
  std::set<const core::MappedFile*> files;
  for (const auto& [name, stored] : tensors) files.insert(stored.file.get());
  files.erase(nullptr);  // of tensors that were made in memory
  for (const core::MappedFile* file : files) file->release();
}

const StoredTensor& Checkpoint::tensor(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail(ErrorKind::kNotFound, "{}: has no tensor {}", path.string(), name);
  return found->second;
}

std::vector<float> Checkpoint::vector(const std::string& name, int64_t size) const {
  const StoredTensor& stored = tensor(name);
  check_shape(*this, name, stored, {size});
  std::vector<float> values(size);
  convert_to_float(stored.view.dtype, stored.view.bytes.data(), size, values.data());
  if (stored.added != 0) {
    for (float& value : values) value -= stored.added;
  }
  if (stored.rotary_heads == 0) return values;
  std::vector<float> ordered(size);
  for (int64_t row = 0; row < size; ++row) ordered[row] = values[stored.stored_row(row)];
  return ordered;
}

core::DenseMatrix Checkpoint::matrix(const std::string& name, int64_t out_features, int64_t in_features) const {
  if (const auto found = matrices.find(name); found != matrices.end()) {
    if (found->second.out_features == out_features && found->second.in_features == in_features) return found->second;
    fail(ErrorKind::kInvalidInput, "{}: matrix {} is [{}, {}], but the config asks for [{}, {}]", path.string(), name,
         found->second.out_features, found->second.in_features, out_features, in_features);
  }
  const StoredTensor& stored = tensor(name);
  check_shape(*this, name, stored, {out_features, in_features});
  const bool plain_half = stored.view.dtype == DType::kF16 || stored.view.dtype == DType::kBF16;
  const auto& info = core::info_of(stored.view.dtype);
  const int64_t row_bytes = in_features / info.block_elements * info.block_bytes;
  const auto read_rows = [stored, in_features, row_bytes](int64_t first, int64_t count, float* out) {
    for (int64_t row = first; row < first + count; ++row, out += in_features) {
      const int64_t source = stored.stored_row(row);
      convert_to_float(stored.view.dtype, stored.view.bytes.data() + source * row_bytes, in_features, out);
    }
  };
  return {out_features, in_features, plain_half ? stored.view.dtype : DType::kF32, read_rows};
}

void Checkpoint::check_linear(const std::string& prefix, int64_t out_features, int64_t in_features) const {
  if (has(prefix + ".bias")) vector(prefix + ".bias", out_features);
  const auto found = quantized.find(prefix);
  if (found == quantized.end()) {
    matrix(prefix + ".weight", out_features, in_features);
  } else if (found->second.out_features != out_features || found->second.in_features != in_features) {
    fail(ErrorKind::kInvalidInput, "{}: {} is a quantized linear [{}, {}], but the config asks for [{}, {}]",
         path.string(), prefix, found->second.out_features, found->second.in_features, out_features, in_features);
  }
}

core::LinearWeights Checkpoint::linear(const std::string& prefix, int64_t out_features, int64_t in_features) const {
  check_linear(prefix, out_features, in_features);
  core::LinearWeights weights;
  if (has(prefix + ".bias")) weights.bias = vector(prefix + ".bias", out_features);
  if (const auto found = quantized.find(prefix); found != quantized.end()) {
    weights.matrix = core::QuantizedMatrix(found->second);
  } else {
    weights.matrix = matrix(prefix + ".weight", out_features, in_features);
  }
  return weights;
}

Checkpoint open_checkpoint(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    fail(ErrorKind::kNotFound, "{}: does not exist: {}", path.string(), error.message());
  }
  if (!std::filesystem::is_directory(status)) return open_gguf(path);
  return is_onnx_folder(path) ? open_onnx_folder(path) : open_safetensors_folder(path);
}

}  // namespace salient::checkpoint
