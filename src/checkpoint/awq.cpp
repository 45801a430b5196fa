#include "checkpoint/awq.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "checkpoint/packed_parts.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

/// Nibble k of a packed word holds output kOrder[k] of its eight.
constexpr std::array<int, 8> kOrder = {0, 2, 4, 6, 1, 3, 5, 7};

/// Turns the rows of an 8x8 matrix of bytes, each a word with its first column lowest, into its columns.
void transpose(std::array<uint64_t, 8>& rows) {
  const auto swap_blocks = [&](int distance, int bits, uint64_t mask) {
    for (int i = 0; i < 8; ++i) {
      if ((i & distance) != 0) continue;
      const uint64_t difference = (rows[i] >> bits ^ rows[i + distance]) & mask;
      rows[i] ^= difference << bits;
      rows[i + distance] ^= difference;
    }
  };
  swap_blocks(1, 8, 0x00ff00ff00ff00ff);
  swap_blocks(2, 16, 0x0000ffff0000ffff);
  swap_blocks(4, 32, 0x00000000ffffffff);
}

/// Columns [first, first + count), multiples of 8, of packed words [rows, columns / 8], as rows of codes
/// [count, rows].
void unpack_columns(const std::byte* words, int64_t rows, int64_t columns, int64_t first, int64_t count,
                    uint8_t* codes) {
  constexpr int64_t kRows = 8;
  constexpr int64_t kAhead = 32;
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t here = std::min(kRows, rows - row);
    for (int64_t column = first; column < first + count; column += 8) {
      std::array<uint64_t, 8> block{};
      for (int64_t i = 0; i < here; ++i) {
        const std::byte* place = words + ((row + i) * (columns / 8) + column / 8) * 4;
        // Rows are pages apart, where no processor looks ahead by itself. A prefetch beyond the tensor does nothing.
        __builtin_prefetch(place + kAhead * (columns / 8) * 4);
        uint32_t word;
        std::memcpy(&word, place, sizeof word);
        block[i] = spread_nibbles(word);
      }
      transpose(block);
      for (int k = 0; k < 8; ++k) {
        std::memcpy(codes + (column - first + kOrder[k]) * rows + row, &block[k], static_cast<size_t>(here));
      }
    }
  }
}

/// The packed words of [rows, columns] nibbles, where nibble(row, column) gives each.
template <typename Nibble>
OutputTensor pack_nibbles(std::string name, int64_t rows, int64_t columns, Nibble nibble) {
  OutputTensor tensor{std::move(name), DType::kI32, {rows, columns / 8}, std::vector<std::byte>(rows * columns / 2)};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t block = 0; block < columns / 8; ++block) {
      uint32_t word = 0;
      for (int k = 0; k < 8; ++k) word |= uint32_t{nibble(row, block * 8 + kOrder[k])} << (4 * k);
      std::memcpy(&tensor.bytes[(row * (columns / 8) + block) * 4], &word, sizeof word);
    }
  }
  return tensor;
}

/// Outputs [first, first + count), of which both are multiples of 8.
core::QuantizedTensor unpack(const AwqSettings& settings, const StoredTensor& qweight, const StoredTensor& qzeros,
                             const StoredTensor& scales, int64_t first, int64_t count) {
  core::QuantizedTensor weights;
  weights.bits = settings.bits;
  weights.group_size = settings.group_size;
  weights.in_features = qweight.view.shape[0];
  weights.out_features = count;
  const int64_t groups = weights.groups();
  const int64_t outs = qweight.view.shape[1] * 8;
  weights.codes.resize(count * weights.in_features);
  weights.zeros.resize(count * groups);
  weights.scales.resize(count * groups);
  unpack_columns(qweight.view.bytes.data(), weights.in_features, outs, first, count, weights.codes.data());
  unpack_columns(qzeros.view.bytes.data(), groups, outs, first, count, weights.zeros.data());
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t out = 0; out < count; ++out) {
      uint16_t bits;
      std::memcpy(&bits, scales.view.bytes.data() + (group * outs + first + out) * 2, sizeof bits);
      weights.scales[out * groups + group] = core::half_to_float(bits);
    }
  }
  return weights;
}

/// Outputs [first, first + count), whatever they are: those of whole words are unpacked.
core::QuantizedTensor unpack_rows(const AwqSettings& settings, const StoredTensor& qweight, const StoredTensor& qzeros,
                                  const StoredTensor& scales, int64_t first, int64_t count) {
  const int64_t begin = first / 8 * 8;
  const int64_t end = (first + count + 7) / 8 * 8;
  core::QuantizedTensor weights = unpack(settings, qweight, qzeros, scales, begin, end - begin);
  return begin == first && end == first + count ? weights : weights.rows(first - begin, count);
}

/// Some readers of a folder without zero points take what is stored, others take 8 whatever is stored.
void check_symmetric(const core::QuantizedTensor& weights, const std::string& origin) {
  if (is_symmetric(weights)) return;
  fail(ErrorKind::kUnsupported, "{}: holds other zero points than 8, though quantization_config.zero_point is false",
       origin);
}

}  // namespace

AwqSettings read_awq_settings(const json& config, const std::string& origin) {
  const json& quantization = config.at("quantization_config");
  const auto expect = [&](const char* field, const json& expected) {
    if (!quantization.contains(field) || quantization[field] == expected) return;
    fail(ErrorKind::kUnsupported, "{}: quantization_config.{} is {}, which is not supported; expected {}", origin,
         field, quantization[field].dump(), expected.dump());
  };
  if (quantization.value("version", json("gemm")) != "GEMM") expect("version", "gemm");
  expect("bits", 4);
  const json zero_point = quantization.value("zero_point", json(true));
  if (!zero_point.is_boolean()) expect("zero_point", true);
  const json group_size = quantization.value("group_size", json(128));
  constexpr std::array kSizes = {16, 32, 64, 128, 256};
  if (!group_size.is_number_integer() || std::find(kSizes.begin(), kSizes.end(), group_size) == kSizes.end()) {
    fail(ErrorKind::kUnsupported, "{}: quantization_config.group_size is {}, expected one of {}", origin,
         group_size.dump(), fmt::join(kSizes, ", "));
  }
  return {4, group_size.get<int>(), !zero_point.get<bool>()};
}

StoredQuantized describe_awq_linear(const Checkpoint& checkpoint, const std::string& prefix,
                                    const AwqSettings& settings) {
  const StoredTensor& qweight = checked_words(checkpoint, prefix + ".qweight", "[in_features, out_features / 8]");
  StoredQuantized stored;
  stored.bits = settings.bits;
  stored.group_size = settings.group_size;
  stored.half_numbers = true;
  stored.in_features = qweight.view.shape[0];
  stored.out_features = qweight.view.shape[1] * 8;
  if (stored.in_features % settings.group_size != 0) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {}.qweight has {} inputs, which group_size {} does not divide",
         checkpoint.path.string(), prefix, stored.in_features, settings.group_size);
  }
  const int64_t groups = stored.in_features / settings.group_size;
  const int64_t outs = stored.out_features;
  const auto& qzeros = checked_tensor(checkpoint, prefix + ".qzeros", DType::kI32, {groups, outs / 8});
  const auto& scales = checked_tensor(checkpoint, prefix + ".scales", DType::kF16, {groups, outs});
  const std::string origin = fmt::format("{}: tensor {}.qzeros", checkpoint.path.string(), prefix);
  stored.read_rows = [settings, qweight, qzeros, scales, origin](int64_t first, int64_t count) {
    core::QuantizedTensor weights = unpack_rows(settings, qweight, qzeros, scales, first, count);
    if (settings.symmetric) check_symmetric(weights, origin);
    return weights;
  };
  return stored;
}

core::QuantizedTensor read_awq_linear(const Checkpoint& checkpoint, const std::string& prefix,
                                      const AwqSettings& settings) {
  return describe_awq_linear(checkpoint, prefix, settings).read();
}

void describe_awq_linears(Checkpoint& checkpoint) {
  constexpr std::string_view kSuffix = ".qweight";
  const AwqSettings settings = read_awq_settings(checkpoint.config, checkpoint.path.string());
  for (const auto& [name, unused] : checkpoint.tensors) {
    if (!name.ends_with(kSuffix)) continue;
    const std::string prefix = name.substr(0, name.size() - kSuffix.size());
    checkpoint.quantized.emplace(prefix, describe_awq_linear(checkpoint, prefix, settings));
  }
}

std::vector<OutputTensor> pack_awq_linear(const core::QuantizedTensor& weights, const std::string& prefix) {
  const int64_t outs = weights.out_features;
  const int64_t ins = weights.in_features;
  const int64_t groups = weights.groups();
  if (weights.bits != 4 || outs % 8 != 0) {
    fail(ErrorKind::kUnsupported,
         "tensor {}: {} bits and {} outputs do not fit AutoAWQ's layout, which has 4 and a "
         "multiple of 8",
         prefix, weights.bits, outs);
  }
  check_packable(weights, prefix, "AutoAWQ's layout");
  std::vector<OutputTensor> tensors;
  tensors.push_back(pack_nibbles(prefix + ".qweight", ins, outs,
                                 [&](int64_t in, int64_t out) { return weights.codes[out * ins + in]; }));
  tensors.push_back(pack_nibbles(prefix + ".qzeros", groups, outs,
                                 [&](int64_t group, int64_t out) { return weights.zeros[out * groups + group]; }));
  OutputTensor scales{prefix + ".scales", DType::kF16, {groups, outs}, std::vector<std::byte>(groups * outs * 2)};
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t out = 0; out < outs; ++out) {
      const uint16_t bits = exact_half(weights, out, group, prefix);
      std::memcpy(&scales.bytes[(group * outs + out) * 2], &bits, sizeof bits);
    }
  }
  tensors.push_back(std::move(scales));
  return tensors;
}

json awq_quantization_config(int group_size, const std::vector<std::string>& dense_linears) {
  return {{"quant_method", "awq"},    {"zero_point", true},
          {"group_size", group_size}, {"bits", 4},
          {"version", "gemm"},        {"modules_to_not_convert", dense_linears.empty() ? json() : json(dense_linears)}};
}

}  // namespace salient::checkpoint
