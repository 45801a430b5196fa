#include "runner/cpu_linear.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace salient::runner {

using core::DType;
using kernels::kLanes;

CpuLinear::CpuLinear(const core::LinearWeights& weights, Activations activations, core::ThreadPool& pool,
                     core::Arena& arena)
    : out_features_(weights.out_features()), in_features_(weights.in_features()), bias_(weights.bias) {
  const core::QuantizedMatrix* quantized = weights.quantized();
  if (quantized && activations == Activations::kInt8) {
    pack_quantized(*quantized, pool, arena);
  } else {
    pack_dense(weights, quantized ? DType::kF32 : std::get<core::DenseMatrix>(weights.matrix).dtype, pool, arena);
  }
}

int64_t CpuLinear::packed_bytes() const {
  return static_cast<int64_t>(weights_.size() + zeros_.size() + scales_.size() + offsets_.size() +
                              bias_.size() * sizeof(float));
}

void CpuLinear::pack_dense(const core::LinearWeights& weights, DType dtype, core::ThreadPool& pool,
                           core::Arena& arena) {
  dense_dtype_ = dtype;
  const int64_t element_bytes = core::info_of(dtype).block_bytes;
  weights_ = arena.allocate<std::byte>(tiles() * in_features_ * kLanes * element_bytes);
  pool.split(tiles(), [&](int64_t begin, int64_t end) {
    std::vector<float> rows(kLanes * in_features_);
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t count = std::min<int64_t>(kLanes, out_features_ - tile * kLanes);
      weights.read_rows(tile * kLanes, count, rows.data());
      std::byte* out = weights_.data() + tile * in_features_ * kLanes * element_bytes;
      std::fill(rows.begin() + count * in_features_, rows.end(), 0.0f);
      float lanes[kLanes];
      for (int64_t column = 0; column < in_features_; ++column, out += kLanes * element_bytes) {
        for (int64_t row = 0; row < kLanes; ++row) lanes[row] = rows[row * in_features_ + column];
        if (dtype == DType::kF32) {
          std::memcpy(out, lanes, sizeof lanes);
        } else if (dtype == DType::kF16) {
          kernels::active_kernels().to_half(lanes, kLanes, reinterpret_cast<uint16_t*>(out));
        } else {
          for (int64_t row = 0; row < kLanes; ++row) {
            reinterpret_cast<uint16_t*>(out)[row] = core::float_to_bfloat16(lanes[row]);
          }
        }
      }
    }
  });
}

namespace {

/// The lines of a tile from its rows of codes; rows beyond `count` stay zeros.
void pack_codes(const uint8_t* codes, int64_t count, int64_t columns, int bits, uint8_t* lines) {
  const int64_t step = 32 / bits;
  for (int64_t column = 0; column < columns; column += step, lines += 64) {
    for (int64_t lane = 0; lane < count; ++lane) {
      const uint8_t* row = codes + lane * columns + column;
      uint32_t word;
      std::memcpy(&word, row, sizeof word);
      if (bits == 4) {
        uint32_t high;
        std::memcpy(&high, row + 4, sizeof high);
        word |= high << 4;
      }
      std::memcpy(lines + lane * 4, &word, sizeof word);
    }
  }
}

void put_number(float value, bool half, int64_t index, std::byte* numbers) {
  if (half) {
    reinterpret_cast<uint16_t*>(numbers)[index] = core::float_to_half(value);
  } else {
    reinterpret_cast<float*>(numbers)[index] = value;
  }
}

/// Rows that are unpacked at a time: their codes, a byte each, should stay in a core's cache.
int64_t block_tiles(int64_t columns) {
  constexpr int64_t kBytes = 256 * 1024;
  return std::max<int64_t>(1, kBytes / (columns * kLanes));
}

}  // namespace

void CpuLinear::pack_quantized(const core::QuantizedMatrix& weights, core::ThreadPool& pool, core::Arena& arena) {
  if ((weights.bits != 4 && weights.bits != 8) || weights.group_size % 16 != 0 || weights.group_size > 256) {
    core::fail(
        core::ErrorKind::kUnsupported,
        "a quantized linear has {} bits in groups of {}; the CPU runner takes 4 or 8 bits in groups of 16 to 256",
        weights.bits, weights.group_size);
  }
  bits_ = weights.bits;
  group_size_ = weights.group_size;
  const core::QuantizedTensor first_row = weights.read_rows(0, 1);
  column_input_ = first_row.column_input;
  half_numbers_ = weights.half_numbers;
  const int64_t values = tiles() * (in_features_ / group_size_) * kLanes;
  const int64_t number_bytes = half_numbers_ ? sizeof(uint16_t) : sizeof(float);
  weights_ = arena.allocate<std::byte>(tiles() * in_features_ * kLanes * bits_ / 8);
  scales_ = arena.allocate<std::byte>(values * number_bytes);
  if (first_row.offsets.empty()) {
    zeros_ = arena.allocate<uint8_t>(values);
  } else {
    offsets_ = arena.allocate<std::byte>(values * number_bytes);
  }
  const int64_t step = block_tiles(in_features_);
  pool.each((tiles() + step - 1) / step, [&](int64_t block) {
    const int64_t first = block * step;
    const int64_t end_row = std::min((first + step) * kLanes, out_features_);
    pack_tiles(weights.read_rows(first * kLanes, end_row - first * kLanes), first);
  });
}

/// `rows` are those from tile `first_tile` on.
void CpuLinear::pack_tiles(const core::QuantizedTensor& rows, int64_t first_tile) {
  const int64_t groups = rows.groups();
  const int64_t tile_bytes = in_features_ * kLanes * bits_ / 8;
  for (int64_t row = 0; row < rows.out_features; row += kLanes) {
    pack_codes(&rows.codes[row * in_features_], std::min<int64_t>(kLanes, rows.out_features - row), in_features_, bits_,
               reinterpret_cast<uint8_t*>(weights_.data()) + (first_tile + row / kLanes) * tile_bytes);
  }
  for (int64_t row = 0; row < rows.out_features; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t index = ((first_tile + row / kLanes) * groups + group) * kLanes + row % kLanes;
      put_number(rows.scales[row * groups + group], half_numbers_, index, scales_.data());
      if (rows.offsets.empty()) {
        zeros_[index] = rows.zeros[row * groups + group];
      } else {
        put_number(rows.offsets[row * groups + group], half_numbers_, index, offsets_.data());
      }
    }
  }
}

void CpuLinear::multiply(int64_t first_tile, int64_t end_tile, const float* x, const kernels::Int8Activations& rounded,
                         int64_t tokens, float* y, int64_t y_stride) const {
  const kernels::KernelSet& kernels = kernels::active_kernels();
  if (group_size_ > 0) {
    const kernels::QuantizedTiles tiles{reinterpret_cast<const uint8_t*>(weights_.data()),
                                        scales_.data(),
                                        zeros_.data(),
                                        offsets_.data(),
                                        out_features_,
                                        in_features_,
                                        group_size_,
                                        half_numbers_};
    const auto multiply_quantized = bits_ == 4 ? kernels.multiply_int4 : kernels.multiply_int8;
    multiply_quantized(tiles, first_tile, end_tile, rounded, tokens, y, y_stride);
  } else {
    const kernels::DenseTiles tiles{weights_.data(), out_features_, in_features_};
    const auto multiply_dense = dense_dtype_ == DType::kF32   ? kernels.multiply_f32
                                : dense_dtype_ == DType::kF16 ? kernels.multiply_f16
                                                              : kernels.multiply_bf16;
    multiply_dense(tiles, first_tile, end_tile, x, in_features_, tokens, false, y, y_stride);
  }
  if (bias_.empty()) return;
  const int64_t first_row = first_tile * kLanes;
  const int64_t rows = std::min(end_tile * kLanes, out_features_) - first_row;
  for (int64_t token = 0; token < tokens; ++token) {
    kernels.add(&bias_[first_row], rows, y + token * y_stride + first_row);
  }
}

void LinearStage::round(const float* x, int64_t tokens, const CpuLinear& linear) {
  auto found = std::find_if(rounded_.begin(), rounded_.end(), [&](const Rounded& r) { return r.serves(linear); });
  if (found == rounded_.end()) {
    found = rounded_.emplace(rounded_.end());
    found->group_size = linear.group_size();
    found->column_input = linear.column_input();
  }
  const int64_t columns = linear.in_features();
  const int64_t groups = columns / linear.group_size();
  if (std::ssize(found->values.span()) < tokens * columns) {
    found->values = core::Buffer<int8_t>(tokens * columns);
    found->scales = core::Buffer<float>(tokens * groups);
    found->sums = core::Buffer<int32_t>(tokens * groups);
  }
  const kernels::KernelSet& kernels = kernels::active_kernels();
  pool_.split(tokens, [&](int64_t begin, int64_t end) {
    std::vector<float> ordered(found->column_input.size());
    for (int64_t token = begin; token < end; ++token) {
      const float* row = x + token * columns;
      for (size_t i = 0; i < ordered.size(); ++i) ordered[i] = row[found->column_input[i]];
      kernels.quantize_int8(ordered.empty() ? row : ordered.data(), columns, found->group_size,
                            &found->values[token * columns], &found->scales[token * groups],
                            &found->sums[token * groups]);
    }
  });
  found->view = {found->values.data(), found->scales.data(), found->sums.data()};
}

void LinearStage::run(const float* x, int64_t tokens, std::span<const Output> outputs) {
  int64_t tiles = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const CpuLinear& linear = *outputs[i].linear;
    tiles += linear.tiles();
    const bool rounded_already = std::any_of(outputs.begin(), outputs.begin() + static_cast<int64_t>(i), [&](auto& o) {
      return o.linear->group_size() == linear.group_size() && o.linear->column_input() == linear.column_input();
    });
    if (linear.group_size() > 0 && !rounded_already) round(x, tokens, linear);
  }
  // Work is shared out as blocks of tokens and four tiles, which the kernels take at a time: tiles alone may be too few
  // to share evenly. A thread on its own reads the weights once for all tokens.
  constexpr int64_t kGrainTiles = 4;
  const int64_t block_tokens = pool_.size() > 1 ? 256 : tokens;
  const int64_t grains = (tiles + kGrainTiles - 1) / kGrainTiles;
  const int64_t blocks = (tokens + block_tokens - 1) / block_tokens;
  pool_.split(blocks * grains, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t block = begin / grains;
      const int64_t block_end = std::min(end, (block + 1) * grains);
      const int64_t token = block * block_tokens;
      multiply(x, token, std::min(block_tokens, tokens - token), outputs, (begin - block * grains) * kGrainTiles,
               (block_end - block * grains) * kGrainTiles);
      begin = block_end;
    }
  });
}

void LinearStage::multiply(const float* x, int64_t first_token, int64_t tokens, std::span<const Output> outputs,
                           int64_t first_tile, int64_t end_tile) const {
  int64_t offset = 0;
  for (const Output& output : outputs) {
    const CpuLinear& linear = *output.linear;
    const int64_t first = std::clamp(first_tile - offset, int64_t{0}, linear.tiles());
    const int64_t last = std::clamp(end_tile - offset, int64_t{0}, linear.tiles());
    offset += linear.tiles();
    if (first >= last) continue;
    kernels::Int8Activations rounded{};
    if (linear.group_size() > 0) {
      const auto found = std::find_if(rounded_.begin(), rounded_.end(), [&](auto& r) { return r.serves(linear); });
      const int64_t groups = linear.in_features() / linear.group_size();
      rounded = {found->view.values + first_token * linear.in_features(), found->view.scales + first_token * groups,
                 found->view.sums + first_token * groups};
    }
    linear.multiply(first, last, x + first_token * linear.in_features(), rounded, tokens,
                    output.y + first_token * output.y_stride, output.y_stride);
  }
}

}  // namespace salient::runner
