#include "checkpoint/onnx_matrix.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "checkpoint/packed_parts.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;

namespace {

/// Of a side; the product of two of them and a number of bits fits in 64 bits.
constexpr int64_t kLargestSize = int64_t{1} << 28;
/// The groups that runners take.
constexpr int64_t kSmallestGroup = 16;
constexpr int64_t kLargestGroup = 256;

bool is_float(const OnnxTensor& tensor) {
  const auto dtype = tensor.dtype();
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// Element `index` of a tensor of floats.
float float_at(DType dtype, const std::byte* bytes, int64_t index) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, bytes + index * 4, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes + index * 2, sizeof bits);
  return dtype == DType::kF16 ? core::half_to_float(bits) : core::bfloat16_to_float(bits);
}

const OnnxTensor& initializer(const OnnxGraph& graph, const OnnxNode& node, size_t index, const char* what,
                              const std::string& origin) {
  const auto found = graph.initializers.find(node.input(index));
  if (found == graph.initializers.end()) {
    fail(ErrorKind::kUnsupported, "{}: input {} ({}) is \"{}\", which is no initializer", origin, index, what,
         node.input(index));
  }
  return found->second;
}

/// Groups as large as the blocks that divide both the blocks and the columns: a block becomes several groups of one
/// scale where it is too large for runners or its last one has codes for no column.
int64_t group_size_of(int64_t block_size, int64_t columns, const std::string& origin) {
  int64_t size = std::gcd(block_size, columns);
  while (size > kLargestGroup && size % 2 == 0) size /= 2;
  if (size < kSmallestGroup || size > kLargestGroup) {
    fail(ErrorKind::kUnsupported, "{}: block_size {} with {} columns cannot be read as groups of {} to {}", origin,
         block_size, columns, kSmallestGroup, kLargestGroup);
  }
  return size;
}

void check_bytes(const OnnxTensor& tensor, const char* what, int64_t expected, const std::string& origin) {
  if (std::ssize(tensor.bytes) == expected) return;
  fail(ErrorKind::kInvalidInput, "{}: {} {} [{}] has {} bytes, expected {}", origin, what, tensor.name,
       fmt::join(tensor.shape, ", "), tensor.bytes.size(), expected);
}

/// Reads scales and zero points and checks every size.
void finish_blocks(const OnnxGraph& graph, const OnnxNode& node, size_t scales_input, OnnxMatrix& matrix,
                   const std::string& origin) {
  auto& blocks = std::get<OnnxBlocks>(matrix.weights);
  const int64_t rows = matrix.out_features;
  blocks.blocks = (matrix.in_features + blocks.block_size - 1) / blocks.block_size;
  group_size_of(blocks.block_size, matrix.in_features, origin);
  check_bytes(blocks.codes, "the weights", rows * blocks.blocks * blocks.block_size * blocks.bits / 8, origin);
  blocks.scales = initializer(graph, node, scales_input, "scales", origin);
  if (!is_float(blocks.scales)) {
    fail(ErrorKind::kUnsupported, "{}: the scales {} are no F32, F16 or BF16 numbers", origin, blocks.scales.name);
  }
  const int64_t scale_bytes = core::info_of(*blocks.scales.dtype()).block_bytes;
  check_bytes(blocks.scales, "the scales", rows * blocks.blocks * scale_bytes, origin);
  if (node.input(scales_input + 1).empty()) return;
  const OnnxTensor& zeros = initializer(graph, node, scales_input + 1, "zero points", origin);
  if (is_float(zeros)) {
    if (zeros.type != blocks.scales.type) {
      fail(ErrorKind::kUnsupported, "{}: the zero points {} have another type than the scales", origin, zeros.name);
    }
    check_bytes(zeros, "the zero points", rows * blocks.blocks * scale_bytes, origin);
  } else if (zeros.type == blocks.codes.type) {
    check_bytes(zeros, "the zero points", rows * ((blocks.blocks * blocks.bits + 7) / 8), origin);
    if (zeros.dtype() != DType::kU8 && blocks.blocks % 2 != 0) {
      fail(ErrorKind::kUnsupported, "{}: the zero points {} have an odd number in a row", origin, zeros.name);
    }
  } else {
    fail(ErrorKind::kUnsupported, "{}: the zero points {} have neither the type of the weights nor that of the scales",
         origin, zeros.name);
  }
  blocks.zeros = {zeros};
}

int code_at(const std::byte* row, int64_t index, int bits) {
  if (bits == 8) return std::to_integer<int>(row[index]);
  return std::to_integer<int>(row[index / 2]) >> (index % 2 * 4) & 15;
}

uint8_t zero_at(const OnnxMatrix& matrix, const OnnxBlocks& blocks, int64_t row, int64_t block) {
  const int half = 1 << (blocks.bits - 1);
  if (blocks.zeros.empty()) return blocks.default_zero;
  const OnnxTensor& zeros = blocks.zeros[0];
  if (!is_float(zeros)) {
    const int64_t row_bytes = (blocks.blocks * blocks.bits + 7) / 8;
    const int zero = code_at(zeros.bytes.data() + row * row_bytes, block, blocks.bits);
    return static_cast<uint8_t>(blocks.is_signed ? zero ^ half : zero);
  }
  const float zero = float_at(*zeros.dtype(), zeros.bytes.data(), row * blocks.blocks + block);
  if (!(zero >= 0) || zero > static_cast<float>(2 * half - 1) || zero != static_cast<float>(static_cast<int>(zero))) {
    fail(ErrorKind::kUnsupported, "{}: {} has the zero point {}, expected a whole number from 0 to {}", matrix.name,
         zeros.name, zero, 2 * half - 1);
  }
  return static_cast<uint8_t>(zero);
}

core::QuantizedTensor unpack(const OnnxMatrix& matrix) {
  const auto& blocks = std::get<OnnxBlocks>(matrix.weights);
  core::QuantizedTensor result;
  result.out_features = matrix.out_features;
  result.in_features = matrix.in_features;
  result.bits = blocks.bits;
  result.column_input = matrix.column_input;
  result.group_size = static_cast<int>(group_size_of(blocks.block_size, matrix.in_features, matrix.name));
  const int64_t groups = result.groups();
  result.codes.resize(static_cast<size_t>(result.out_features * result.in_features));
  result.scales.resize(static_cast<size_t>(result.out_features * groups));
  result.zeros.resize(static_cast<size_t>(result.out_features * groups));
  const int64_t row_bytes = blocks.blocks * blocks.block_size * blocks.bits / 8;
  const int flip = blocks.is_signed ? 1 << (blocks.bits - 1) : 0;  // two's complement to an offset of half the range
  for (int64_t i = 0; i < result.out_features; ++i) {
    const int64_t row = matrix.first_row + i;
    const std::byte* codes = blocks.codes.bytes.data() + row * row_bytes;
    uint8_t* unpacked = &result.codes[static_cast<size_t>(i * result.in_features)];
    unpack_codes(codes, result.in_features, blocks.bits, unpacked);
    for (int64_t column = 0; flip != 0 && column < result.in_features; ++column) {
      unpacked[column] = static_cast<uint8_t>(unpacked[column] ^ flip);
    }
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t block = group * result.group_size / blocks.block_size;
      result.scales[i * groups + group] =
          float_at(*blocks.scales.dtype(), blocks.scales.bytes.data(), row * blocks.blocks + block);
      result.zeros[i * groups + group] = zero_at(matrix, blocks, row, block);
    }
  }
  return result;
}

/// Rows [first, first + count) of a dense matrix as fp32.
void read_dense_rows(const OnnxMatrix& matrix, int64_t first, int64_t count, float* out) {
  const auto& dense = std::get<OnnxDense>(matrix.weights);
  const DType dtype = *dense.tensor.dtype();
  const std::byte* bytes = dense.tensor.bytes.data();
  const int64_t row = matrix.first_row + first;
  const int64_t columns = matrix.in_features;
  if (!dense.transposed) {
    for (int64_t i = 0; i < count * columns; ++i) out[i] = float_at(dtype, bytes, row * columns + i);
    return;
  }
  for (int64_t column = 0; column < columns; ++column) {
    for (int64_t i = 0; i < count; ++i) {
      out[i * columns + column] = float_at(dtype, bytes, column * matrix.stored_rows + row + i);
    }
  }
}

StoredQuantized join_quantized(const std::vector<OnnxMatrix>& parts) {
  StoredQuantized stored;
  for (const OnnxMatrix& part : parts) stored.out_features += part.out_features;
  stored.in_features = parts[0].in_features;
  const auto& blocks = std::get<OnnxBlocks>(parts[0].weights);
  stored.bits = blocks.bits;
  stored.group_size = static_cast<int>(group_size_of(blocks.block_size, stored.in_features, parts[0].name));
  stored.half_numbers = true;
  for (const OnnxMatrix& part : parts) {
    const auto& stored_part = std::get<OnnxBlocks>(part.weights);
    stored.half_numbers &= stored_part.scales.dtype() == DType::kF16;
    const auto rows = static_cast<uint64_t>(part.stored_rows);
    uint64_t row_bytes = (stored_part.codes.bytes.size() + stored_part.scales.bytes.size()) / rows;
    if (!stored_part.zeros.empty()) row_bytes += stored_part.zeros[0].bytes.size() / rows;
    stored.bytes += row_bytes * static_cast<uint64_t>(part.out_features);
  }
  stored.read_rows = [parts](int64_t first, int64_t count) {
    core::QuantizedTensor rows;
    int64_t offset = 0;
    for (const OnnxMatrix& part : parts) {
      const int64_t begin = std::max(first, offset);
      const int64_t end = std::min(first + count, offset + part.out_features);
      if (begin < end) {
        core::QuantizedTensor found = unpack(part.rows(begin - offset, end - begin));
        if (rows.codes.empty()) {
          rows = std::move(found);
        } else {
          rows.append_rows(found);
        }
      }
      offset += part.out_features;
    }
    return rows;
  };
  return stored;
}

core::DenseMatrix join_dense(const std::vector<OnnxMatrix>& parts) {
  core::DenseMatrix dense;
  for (const OnnxMatrix& part : parts) dense.out_features += part.out_features;
  dense.in_features = parts[0].in_features;
  dense.dtype = *std::get<OnnxDense>(parts[0].weights).tensor.dtype();
  dense.read_rows = [parts](int64_t first, int64_t count, float* out) {
    int64_t offset = 0;
    for (const OnnxMatrix& part : parts) {
      const int64_t begin = std::max(first, offset);
      const int64_t end = std::min(first + count, offset + part.out_features);
      if (begin < end) read_dense_rows(part, begin - offset, end - begin, out + (begin - first) * part.in_features);
      offset += part.out_features;
    }
  };
  return dense;
}

/// True when rows of both can be rows of one matrix.
bool fit_together(const OnnxMatrix& a, const OnnxMatrix& b) {
  if (a.in_features != b.in_features || a.quantized() != b.quantized()) return false;
  if (a.column_input != b.column_input) return false;
  if (!a.quantized()) {
    return std::get<OnnxDense>(a.weights).tensor.type == std::get<OnnxDense>(b.weights).tensor.type;
  }
  const auto& left = std::get<OnnxBlocks>(a.weights);
  const auto& right = std::get<OnnxBlocks>(b.weights);
  return left.bits == right.bits && left.block_size == right.block_size;
}

}  // namespace

OnnxMatrix OnnxMatrix::rows(int64_t first, int64_t count) const {
  if (first < 0 || count < 0 || first > out_features || count > out_features - first) {
    fail(ErrorKind::kInvalidInput, "{}: has {} outputs, expected at least {}", name, out_features, first + count);
  }
  OnnxMatrix part = *this;
  part.out_features = count;
  part.first_row = first_row + first;
  return part;
}

bool OnnxMatrix::same_as(const OnnxMatrix& other) const {
  if (out_features != other.out_features || first_row != other.first_row || !fit_together(*this, other)) return false;
  const auto same = [](const OnnxTensor& a, const OnnxTensor& b) {
    return a.bytes.data() == b.bytes.data() && a.bytes.size() == b.bytes.size();
  };
  if (!quantized()) {
    const auto& a = std::get<OnnxDense>(weights);
    const auto& b = std::get<OnnxDense>(other.weights);
    return a.transposed == b.transposed && same(a.tensor, b.tensor);
  }
  const auto& a = std::get<OnnxBlocks>(weights);
  const auto& b = std::get<OnnxBlocks>(other.weights);
  return same(a.codes, b.codes) && same(a.scales, b.scales) && a.is_signed == b.is_signed &&
         std::equal(a.zeros.begin(), a.zeros.end(), b.zeros.begin(), b.zeros.end(), same) &&
         (!a.zeros.empty() || a.default_zero == b.default_zero);
}

int64_t integer_attribute(const OnnxNode& node, const std::string& name, int64_t least, int64_t most,
                          const std::string& origin, const int64_t* otherwise) {
  const auto found = node.attributes.find(name);
  if (found == node.attributes.end() && otherwise) return *otherwise;
  if (found == node.attributes.end()) fail(ErrorKind::kInvalidInput, "{}: attribute {} is missing", origin, name);
  const int64_t value = found->second.integer;
  if (value < least || value > most) {
    fail(ErrorKind::kInvalidInput, "{}: attribute {} is {}, expected {} to {}", origin, name, value, least, most);
  }
  return value;
}

OnnxMatrix read_matmul_nbits(const OnnxGraph& graph, const OnnxNode& node, const std::string& origin) {
  constexpr int64_t kNotPrepacked = 0;
  constexpr int64_t kUnset = 0;
  constexpr int64_t kInt8 = 4;
  OnnxMatrix matrix;
  matrix.name = origin;
  matrix.out_features = integer_attribute(node, "N", 1, kLargestSize, origin);
  matrix.in_features = integer_attribute(node, "K", 1, kLargestSize, origin);
  matrix.stored_rows = matrix.out_features;
  OnnxBlocks blocks;
  blocks.bits = static_cast<int>(integer_attribute(node, "bits", 1, 8, origin));
  blocks.block_size = integer_attribute(node, "block_size", kSmallestGroup, kLargestSize, origin);
  if (blocks.bits != 4 && blocks.bits != 8) {
    fail(ErrorKind::kUnsupported, "{}: has {} bits, expected 4 or 8", origin, blocks.bits);
  }
  if (integer_attribute(node, "weight_prepacked", INT64_MIN, INT64_MAX, origin, &kNotPrepacked) != 0) {
    fail(ErrorKind::kUnsupported, "{}: attribute weight_prepacked is not 0: its bytes are in a GPU's order", origin);
  }
  const int64_t accuracy = integer_attribute(node, "accuracy_level", kUnset, kInt8, origin, &kUnset);
  blocks.float_activations = accuracy != kUnset && accuracy != kInt8;
  if (!node.input(4).empty()) {
    fail(ErrorKind::kUnsupported, "{}: has a g_idx (inputs in another order), which is not supported", origin);
  }
  blocks.default_zero = static_cast<uint8_t>(1 << (blocks.bits - 1));
  blocks.codes = initializer(graph, node, 1, "B", origin);
  if (blocks.codes.dtype() != DType::kU8) {
    fail(ErrorKind::kUnsupported, "{}: the weights {} are not U8", origin, blocks.codes.name);
  }
  matrix.weights = std::move(blocks);
  finish_blocks(graph, node, 2, matrix, origin);
  return matrix;
}

OnnxMatrix read_gather_block_quantized(const OnnxGraph& graph, const OnnxNode& node, const OnnxTensor& codes,
                                       int64_t in_features, const std::string& origin) {
  constexpr int64_t kFirst = 0;
  constexpr int64_t kLast = 1;
  constexpr int64_t kFourBits = 4;
  constexpr int64_t kDefaultBlock = 128;
  if (codes.shape.size() != 2 || codes.shape[0] < 1 || codes.shape[0] > kLargestSize ||
      integer_attribute(node, "gather_axis", INT64_MIN, INT64_MAX, origin, &kFirst) != 0 ||
      integer_attribute(node, "quantize_axis", INT64_MIN, INT64_MAX, origin, &kLast) != 1) {
    fail(ErrorKind::kUnsupported, "{}: its data is [{}], expected a matrix gathered by rows and quantized along them",
         origin, fmt::join(codes.shape, ", "));
  }
  OnnxMatrix matrix;
  matrix.name = origin;
  matrix.out_features = codes.shape[0];
  matrix.in_features = in_features;
  matrix.stored_rows = matrix.out_features;
  OnnxBlocks blocks;
  blocks.bits = static_cast<int>(integer_attribute(node, "bits", 4, 8, origin, &kFourBits));
  blocks.block_size = integer_attribute(node, "block_size", kSmallestGroup, kLargestSize, origin, &kDefaultBlock);
  const bool bytes = codes.dtype() == DType::kU8;
  blocks.is_signed = codes.type == OnnxElementType::kInt4;
  if ((!bytes && !blocks.is_signed && codes.type != OnnxElementType::kUint4) ||
      (blocks.bits != 4 && blocks.bits != 8) || (!bytes && blocks.bits != 4)) {
    fail(ErrorKind::kUnsupported, "{}: its data {} has {} bits, expected 4 or 8 in U8, or 4 in UINT4 or INT4", origin,
         codes.name, blocks.bits);
  }
  // Of U8 data the codes are offset by half their range, of UINT4 and INT4 they are the numbers themselves.
  blocks.default_zero = static_cast<uint8_t>(codes.type == OnnxElementType::kUint4 ? 0 : 1 << (blocks.bits - 1));
  blocks.codes = codes;
  matrix.weights = std::move(blocks);
  finish_blocks(graph, node, 2, matrix, origin);
  return matrix;
}

OnnxMatrix make_dense_matrix(const OnnxTensor& tensor, bool transposed, const std::string& origin) {
  if (tensor.shape.size() != 2 || !is_float(tensor) || tensor.bytes.empty()) {
    fail(ErrorKind::kUnsupported, "{}: its weights {} are [{}] of data_type {}, expected a matrix of F32, F16 or BF16",
         origin, tensor.name, fmt::join(tensor.shape, ", "), static_cast<int64_t>(tensor.type));
  }
  OnnxMatrix matrix;
  matrix.name = origin;
  matrix.out_features = tensor.shape[transposed ? 1 : 0];
  matrix.in_features = tensor.shape[transposed ? 0 : 1];
  matrix.stored_rows = matrix.out_features;
  matrix.weights = OnnxDense{tensor, transposed};
  return matrix;
}

void add_matrix(Checkpoint& checkpoint, const std::string& prefix, const std::vector<OnnxMatrix>& parts) {
  for (const OnnxMatrix& part : parts) {
    if (fit_together(parts[0], part)) continue;
    fail(ErrorKind::kUnsupported, "{} and {} differ in type or size, expected the same, because {} is one linear",
         parts[0].name, part.name, prefix);
  }
  if (parts[0].quantized()) {
    checkpoint.quantized.emplace(prefix, join_quantized(parts));
    for (const OnnxMatrix& part : parts) {
      checkpoint.float_activations |= std::get<OnnxBlocks>(part.weights).float_activations;
    }
  } else {
    checkpoint.matrices.emplace(prefix + ".weight", join_dense(parts));
  }
}

}  // namespace salient::checkpoint
