#include "convert/packed_exporter.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "checkpoint/packed_parts.h"
#include "core/error.h"

namespace salient::convert {

using checkpoint::Checkpoint;
using checkpoint::OutputTensor;
using checkpoint::PackedFormat;
using checkpoint::PackedSettings;
using checkpoint::PackedWriter;
using checkpoint::StoredQuantized;
using checkpoint::StoredTensor;
using core::DType;
using core::ErrorKind;
using core::fail;

namespace {

constexpr std::string_view kLayers = "model.layers.";
constexpr int64_t kOutside = -1;

/// The decoder layer a tensor belongs to, or kOutside.
int64_t layer_of(const std::string& name) {
  if (!name.starts_with(kLayers)) return kOutside;
  int64_t layer = kOutside;
  const char* end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kLayers.size(), end, layer);
  return error == std::errc() && rest != end && *rest == '.' ? layer : kOutside;
}

/// The quantized linear that a tensor is a part of; its bias is a tensor of its own.
std::optional<std::string> quantized_linear(const Checkpoint& source, const std::string& tensor) {
  const size_t dot = tensor.rfind('.');
  if (dot == std::string::npos || tensor.substr(dot) == ".bias") return std::nullopt;
  const std::string prefix = tensor.substr(0, dot);
  if (!source.quantized.contains(prefix)) return std::nullopt;
  return prefix;
}

OutputTensor make_f32_tensor(const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values) {
  OutputTensor tensor{name, DType::kF32, std::move(shape), std::vector<std::byte>(values.size() * sizeof(float))};
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

/// A dense tensor with every value as it was: its bytes, or fp32 where they are a block format or in another order.
OutputTensor make_dense_tensor(const Checkpoint& source, const std::string& name) {
  const StoredTensor& stored = source.tensor(name);
  const std::vector<int64_t>& shape = stored.view.shape;
  if (!core::is_block_quantized(stored.view.dtype) && stored.rotary_heads == 0) {
    return {name, stored.view.dtype, shape, {stored.view.bytes.begin(), stored.view.bytes.end()}};
  }
  if (shape.size() == 1) return make_f32_tensor(name, shape, source.vector(name, shape[0]));
  if (shape.size() != 2) {
    fail(ErrorKind::kUnsupported, "{}: tensor {} has shape [{}], expected one or two dimensions", source.path.string(),
         name, fmt::join(shape, ", "));
  }
  std::vector<float> values(shape[0] * shape[1]);
  source.matrix(name, shape[0], shape[1]).read_rows(0, shape[0], values.data());
  return make_f32_tensor(name, shape, values);
}

/// A matrix that its format does not store as rows, in the dtype that holds it.
OutputTensor make_matrix_tensor(const std::string& name, const core::DenseMatrix& matrix) {
  std::vector<float> values(matrix.out_features * matrix.in_features);
  matrix.read_rows(0, matrix.out_features, values.data());
  const std::vector<int64_t> shape = {matrix.out_features, matrix.in_features};
  if (matrix.dtype == DType::kF32) return make_f32_tensor(name, shape, values);
  OutputTensor tensor{name, matrix.dtype, shape, std::vector<std::byte>(values.size() * sizeof(uint16_t))};
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits =
        matrix.dtype == DType::kF16 ? core::float_to_half(values[i]) : core::float_to_bfloat16(values[i]);
    std::memcpy(&tensor.bytes[i * sizeof bits], &bits, sizeof bits);
  }
  return tensor;
}

OutputTensor make_dequantized_tensor(const StoredQuantized& linear, const std::string& prefix) {
  std::vector<float> values(linear.out_features * linear.in_features);
  linear.read().dequantize_rows(0, linear.out_features, values.data());
  return make_f32_tensor(prefix + ".weight", {linear.out_features, linear.in_features}, values);
}

/// Reads linears until one is not symmetric.
bool all_symmetric(const Checkpoint& source) {
  return std::all_of(source.quantized.begin(), source.quantized.end(), [](const auto& entry) {
    return layer_of(entry.first) == kOutside || checkpoint::is_symmetric(entry.second.read());
  });
}

/// What the linears of all layers are written with: the format has one of each. The smallest group divides the others,
/// as a rule; bits are 4 where linears differ.
PackedSettings choose_settings(const Checkpoint& source, PackedFormat format) {
  PackedSettings settings;
  settings.format = format;
  settings.bits = format == PackedFormat::kAwq ? 4 : 8;
  settings.group_size = 0;
  for (const auto& [name, linear] : source.quantized) {
    if (layer_of(name) == kOutside) continue;
    settings.bits = std::min(settings.bits, linear.bits);
    if (settings.group_size == 0 || linear.group_size < settings.group_size) settings.group_size = linear.group_size;
  }
  if (settings.group_size == 0) {
    fail(ErrorKind::kInvalidInput, "{}: has no quantized linears; salient quantize makes them", source.path.string());
  }
  const auto add_dense_linear = [&](const std::string& name) {
    if (layer_of(name) == kOutside || quantized_linear(source, name)) return;
    settings.dense_linears.push_back(name.substr(0, name.size() - std::strlen(".weight")));
  };
  for (const auto& [name, stored] : source.tensors) {
    if (stored.view.shape.size() == 2 && name.ends_with(".weight")) add_dense_linear(name);
  }
  for (const auto& [name, matrix] : source.matrices) add_dense_linear(name);
  if (format == PackedFormat::kCompressedTensors) settings.symmetric = all_symmetric(source);
  return settings;
}

/// The tensors of one layer, or those outside of layers: names of dense tensors and of quantized linears.
struct Part {
  std::vector<std::string> dense;
  std::set<std::string> quantized;
};

std::map<int64_t, Part> divide(const Checkpoint& source) {
  std::map<int64_t, Part> parts;
  for (const auto& [name, stored] : source.tensors) {
    if (!quantized_linear(source, name)) parts[layer_of(name)].dense.push_back(name);
  }
  for (const auto& [name, matrix] : source.matrices) parts[layer_of(name)].dense.push_back(name);
  for (const auto& [name, linear] : source.quantized) parts[layer_of(name)].quantized.insert(name);
  return parts;
}

/// A linear of a layer as the format holds it; what had to change is added to `changes`.
std::vector<OutputTensor> make_packed_tensors(const Checkpoint& source, const std::string& prefix,
                                              const PackedSettings& settings, bool exact,
                                              std::vector<WeightChange>& changes) {
  const LinearFormat format = {.bits = settings.bits,
                               .group_size = settings.group_size,
                               .zeros = settings.symmetric ? ZeroKind::kMiddle : ZeroKind::kInteger};
  FittedLinear fitted = fit_linear(source.quantized.at(prefix).read(), format, prefix);
  if (fitted.change) {
    if (exact) refuse_change(*fitted.change, source.path.string(), checkpoint::name_of(settings.format));
    changes.push_back(*fitted.change);
  }
  return checkpoint::pack_linear(settings, fitted.weights, prefix);
}

std::vector<OutputTensor> make_part(const Checkpoint& source, int64_t layer, const Part& part,
                                    const PackedSettings& settings, bool exact, std::vector<WeightChange>& changes) {
  std::vector<OutputTensor> tensors;
  for (const std::string& name : part.dense) {
    const auto matrix = source.matrices.find(name);
    tensors.push_back(matrix == source.matrices.end() ? make_dense_tensor(source, name)
                                                      : make_matrix_tensor(name, matrix->second));
  }
  for (const std::string& prefix : part.quantized) {
    if (layer == kOutside) {
      tensors.push_back(make_dequantized_tensor(source.quantized.at(prefix), prefix));
      continue;
    }
    for (OutputTensor& tensor : make_packed_tensors(source, prefix, settings, exact, changes)) {
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

}  // namespace

PackedExportReport export_packed(const Checkpoint& source, const PackedExportOptions& options) {
  const PackedSettings settings = choose_settings(source, options.format);
  const std::map<int64_t, Part> parts = divide(source);
  PackedWriter writer(options.output, {}, /*resume=*/false);
  PackedExportReport report{settings.bits, settings.group_size, {}, 0};
  try {
    std::vector<std::string> names;
    for (const auto& [layer, part] : parts) {
      if (options.stop.stop_requested()) fail(ErrorKind::kCancelled, "interrupted");
      names.push_back(layer == kOutside ? "outer" : fmt::format("layer-{:05}", layer));
      writer.write_part(names.back(), make_part(source, layer, part, settings, options.exact, report.changes));
      if (options.progress) {
        options.progress({"exporting", std::ssize(names), std::ssize(parts), "parts", {}});
      }
    }
    report.bytes = writer.finish(source, settings, names);
  } catch (...) {
    writer.discard();
    throw;
  }
  return report;
}

}  // namespace salient::convert
