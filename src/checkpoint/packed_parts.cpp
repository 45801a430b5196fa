#include "checkpoint/packed_parts.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;

namespace {

std::string describe(const StoredTensor& stored) {
  return fmt::format("{} [{}]", core::info_of(stored.view.dtype).name, fmt::join(stored.view.shape, ", "));
}

}  // namespace

const StoredTensor& checked_tensor(const Checkpoint& checkpoint, const std::string& name, DType dtype,
                                   const std::vector<int64_t>& shape) {
  const StoredTensor& stored = checkpoint.tensor(name);
  if (stored.view.dtype != dtype || stored.view.shape != shape) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {} is {}, expected {} [{}]", checkpoint.path.string(), name,
         describe(stored), core::info_of(dtype).name, fmt::join(shape, ", "));
  }
  return stored;
}

const StoredTensor& checked_words(const Checkpoint& checkpoint, const std::string& name, std::string_view layout) {
  const StoredTensor& stored = checkpoint.tensor(name);
  if (stored.view.dtype != DType::kI32 || stored.view.shape.size() != 2 || stored.view.bytes.empty()) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {} is {}, expected I32 {}", checkpoint.path.string(), name,
         describe(stored), layout);
  }
  return stored;
}

const StoredTensor& checked_scales(const Checkpoint& checkpoint, const std::string& name,
                                   const std::vector<int64_t>& shape) {
  const StoredTensor& stored = checkpoint.tensor(name);
  const DType dtype = stored.view.dtype;
  const bool numbers = dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32;
  if (!numbers || stored.view.shape != shape) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {} is {}, expected F16, BF16 or F32 [{}]", checkpoint.path.string(),
         name, describe(stored), fmt::join(shape, ", "));
  }
  return stored;
}

std::vector<float> read_scales(const StoredTensor& stored, int64_t first, int64_t count, const std::string& origin) {
  const size_t size = core::info_of(stored.view.dtype).block_bytes;
  const std::byte* bytes = stored.view.bytes.data() + static_cast<size_t>(first) * size;
  std::vector<float> scales(static_cast<size_t>(count));
  for (size_t i = 0; i < scales.size(); ++i) {
    if (stored.view.dtype == DType::kF32) {
      std::memcpy(&scales[i], bytes + i * size, size);
    } else {
      uint16_t half;
      std::memcpy(&half, bytes + i * size, size);
      scales[i] = stored.view.dtype == DType::kF16 ? core::half_to_float(half) : core::bfloat16_to_float(half);
    }
    if (!std::isfinite(scales[i])) {
      fail(ErrorKind::kInvalidInput, "{}: element {} is {}: the model is damaged", origin,
           first + static_cast<int64_t>(i), scales[i]);
    }
  }
  return scales;
}

std::vector<int32_t> inputs_by_group(const Checkpoint& checkpoint, const std::string& name, int64_t in_features,
                                     int64_t groups) {
  const StoredTensor& stored = checked_tensor(checkpoint, name, DType::kI32, {in_features});
  std::vector<int32_t> group_of(in_features);
  std::memcpy(group_of.data(), stored.view.bytes.data(), stored.view.bytes.size());
  std::vector<int64_t> sizes(groups, 0);
  for (int64_t input = 0; input < in_features; ++input) {
    const int32_t group = group_of[input];
    if (group < 0 || group >= groups) {
      fail(ErrorKind::kInvalidInput, "{}: tensor {} puts input {} into group {}, but there are {}",
           checkpoint.path.string(), name, input, group, groups);
    }
    ++sizes[group];
  }
  const int64_t size = in_features / groups;
  for (int64_t group = 0; group < groups; ++group) {
    if (sizes[group] == size) continue;
    fail(ErrorKind::kInvalidInput, "{}: tensor {} puts {} inputs into group {}, expected {} in each",
         checkpoint.path.string(), name, sizes[group], group, size);
  }
  if (std::is_sorted(group_of.begin(), group_of.end())) return {};
  std::vector<int32_t> order(in_features);
  std::vector<int64_t> next(groups);
  for (int64_t group = 0; group < groups; ++group) next[group] = group * size;
  for (int64_t input = 0; input < in_features; ++input) {
    order[next[group_of[input]]++] = static_cast<int32_t>(input);
  }
  return order;
}

int held_group_size(const Checkpoint& checkpoint, const std::string& prefix, int64_t inputs) {
  for (const int size : {256, 128, 64, 32, 16}) {
    if (inputs == size || (size != 256 && inputs % size == 0)) return size;
  }
  fail(ErrorKind::kUnsupported, "{}: tensor {} has groups of {} inputs, expected a multiple of 16",
       checkpoint.path.string(), prefix, inputs);
}

void check_packable(const core::QuantizedTensor& weights, const std::string& prefix, std::string_view layout) {
  if (!weights.offsets.empty() || !weights.column_input.empty()) {
    fail(ErrorKind::kUnsupported, "tensor {}: {} do not fit {}", prefix,
         weights.offsets.empty() ? "inputs in another order" : "offsets in place of zero points", layout);
  }
  const int largest = (1 << weights.bits) - 1;
  const auto zero = std::find_if(weights.zeros.begin(), weights.zeros.end(), [&](int z) { return z > largest; });
  if (zero != weights.zeros.end()) {
    const int64_t place = zero - weights.zeros.begin();
    fail(ErrorKind::kUnsupported, "tensor {}: the zero point {} of row {}, group {} does not fit the {} bits of {}",
         prefix, int{*zero}, place / weights.groups(), place % weights.groups(), weights.bits, layout);
  }
  const auto code = std::find_if(weights.codes.begin(), weights.codes.end(), [&](int c) { return c > largest; });
  if (code != weights.codes.end()) {
    fail(ErrorKind::kInternal, "tensor {}: the code {} does not fit {} bits", prefix, int{*code}, weights.bits);
  }
}

bool is_symmetric(const core::QuantizedTensor& weights) {
  const int middle = 1 << (weights.bits - 1);
  return weights.offsets.empty() &&
         std::all_of(weights.zeros.begin(), weights.zeros.end(), [&](int zero) { return zero == middle; });
}

uint16_t exact_half(const core::QuantizedTensor& weights, int64_t row, int64_t group, const std::string& prefix) {
  const float scale = weights.scales[row * weights.groups() + group];
  const uint16_t bits = core::float_to_half(scale);
  if (core::half_to_float(bits) != scale || !std::isfinite(scale)) {
    fail(ErrorKind::kUnsupported, "tensor {}: the scale {} of row {}, group {} is not an fp16 number", prefix, scale,
         row, group);
  }
  return bits;
}

}  // namespace salient::checkpoint
