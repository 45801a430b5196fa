#include "runner/vulkan/vulkan_linear.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"

namespace salient::runner {

namespace {

/// Rows of a workgroup of gemv.comp, and the most tokens it takes.
constexpr int64_t kGemvRows = 4;
constexpr int64_t kGemvTokens = 8;
/// Rows and tokens of a workgroup of gemm.comp.
constexpr int64_t kGemmTile = 64;
/// Rows that a thread packs at a time.
constexpr int64_t kPackedRows = 16;
constexpr int64_t kFloatBytes = sizeof(float);

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

WeightKind kind_of(const core::LinearWeights& weights) {
  if (const auto* quantized = weights.quantized()) {
    return quantized->bits == 4 ? WeightKind::kInt4 : WeightKind::kInt8;
  }
  const core::DType dtype = std::get<core::DenseMatrix>(weights.matrix).dtype;
  return dtype == core::DType::kF32   ? WeightKind::kF32
         : dtype == core::DType::kF16 ? WeightKind::kF16
                                      : WeightKind::kBF16;
}

}  // namespace

int64_t chunk_size(WeightKind kind) {
  switch (kind) {
    case WeightKind::kF32:
      return 4;
    case WeightKind::kInt4:
      return 32;
    case WeightKind::kInt8:
      return 16;
    default:
      return 8;
  }
}

VulkanLinear::VulkanLinear(const core::LinearWeights& weights, const std::string& name, const PackingContext& context)
    : out_features_(weights.out_features()), in_features_(weights.in_features()), kind_(kind_of(weights)) {
  if (const auto* quantized = weights.quantized()) {
    group_size_ = quantized->group_size;
    half_numbers_ = quantized->half_numbers;
    const core::QuantizedTensor first_row = quantized->read_rows(0, 1);
    offsets_ = !first_row.offsets.empty();
    column_input_ = first_row.column_input;
  }
  check_shape(name);
  // Of no more bytes, nor workgroups, than the device takes at once.
  const vk::PhysicalDeviceLimits& limits = context.device.limits();
  const int64_t most_rows = std::min<int64_t>(limits.maxStorageBufferRange / std::max(row_bytes(), number_bytes()),
                                              limits.maxComputeWorkGroupCount[0] * kGemvRows);
  const int64_t piece_rows = std::max(most_rows / kGemvRows, int64_t{1}) * kGemvRows;
  for (int64_t first = 0; first < out_features_; first += piece_rows) {
    const int64_t rows = std::min(piece_rows, out_features_ - first);
    pieces_.push_back(
        {first, rows, context.arena.allocate(static_cast<uint64_t>(rows * row_bytes())),
         is_quantized() ? context.arena.allocate(static_cast<uint64_t>(rows * number_bytes())) : DeviceSlice()});
    if (context.weights == Weights::kUploaded) pack(weights, pieces_.back(), context);
  }
  if (!weights.bias.empty()) {
    bias_ = context.arena.allocate(weights.bias.size() * sizeof(float));
    context.uploader.write(std::as_bytes(std::span(weights.bias)), bias_);
  }
  if (!column_input_.empty()) {
    column_input_slice_ = context.arena.allocate(column_input_.size() * sizeof(int32_t));
    context.uploader.write(std::as_bytes(std::span(column_input_)), column_input_slice_);
  }
}

void VulkanLinear::check_shape(const std::string& name) const {
  if (in_features_ % chunk_size(kind_) != 0) {
    core::fail(core::ErrorKind::kUnsupported,
               "{}: it has {} inputs; the Vulkan runner takes multiples of {} of its kind", name, in_features_,
               chunk_size(kind_));
  }
  if (is_quantized() && (group_size_ % 16 != 0 || in_features_ % group_size_ != 0)) {
    core::fail(core::ErrorKind::kUnsupported, "{}: its groups have {} weights; the Vulkan runner takes multiples of 16",
               name, group_size_);
  }
}

int64_t VulkanLinear::number_bytes() const {
  return is_quantized() ? in_features_ / group_size_ * (half_numbers_ ? 4 : 8) : 0;
}

int64_t VulkanLinear::packed_bytes() const {
  return out_features_ * (row_bytes() + number_bytes()) + static_cast<int64_t>(bias_.bytes);
}

void VulkanLinear::pack(const core::LinearWeights& weights, const Piece& piece, const PackingContext& context) const {
  const std::span<std::byte> room = context.uploader.room();
  const auto half = static_cast<int64_t>(room.size() / 2);
  const int64_t step = half / std::max(row_bytes(), number_bytes()) / kPackedRows * kPackedRows;
  if (step == 0) {
    core::fail(core::ErrorKind::kUnsupported, "a linear has {} inputs, which are more than the Vulkan runner takes",
               in_features_);
  }
  for (int64_t done = 0; done < piece.rows; done += step) {
    const int64_t count = std::min(step, piece.rows - done);
    context.pool.each(divide_up(count, kPackedRows), [&](int64_t block) {
      const int64_t first = block * kPackedRows;
      const int64_t rows = std::min(kPackedRows, count - first);
      std::byte* out = room.data() + first * row_bytes();
      if (const auto* quantized = weights.quantized()) {
        pack_quantized_rows(quantized->read_rows(piece.first_row + done + first, rows), out,
                            room.data() + half + first * number_bytes());
      } else {
        pack_dense_rows(weights, piece.first_row + done + first, rows, out);
      }
    });
    const auto flush = [&](int64_t from, int64_t bytes, const DeviceSlice& target) {
      context.uploader.flush(static_cast<uint64_t>(from), static_cast<uint64_t>(count * bytes),
                             target.part(static_cast<uint64_t>(done * bytes), static_cast<uint64_t>(count * bytes)));
    };
    flush(0, row_bytes(), piece.weights);
    if (is_quantized()) flush(half, number_bytes(), piece.numbers);
  }
}

void VulkanLinear::pack_dense_rows(const core::LinearWeights& weights, int64_t first, int64_t count,
                                   std::byte* out) const {
  if (kind_ == WeightKind::kF32) {
    weights.read_rows(first, count, reinterpret_cast<float*>(out));
    return;
  }
  std::vector<float> values(static_cast<size_t>(count * in_features_));
  weights.read_rows(first, count, values.data());
  auto* halves = reinterpret_cast<uint16_t*>(out);
  for (const float value : values) {
    *halves++ = kind_ == WeightKind::kF16 ? core::float_to_half(value) : core::float_to_bfloat16(value);
  }
}

void VulkanLinear::pack_quantized_rows(const core::QuantizedTensor& rows, std::byte* codes, std::byte* numbers) const {
  for (size_t i = 0; i < rows.codes.size(); i += kind_ == WeightKind::kInt4 ? 8 : 4, codes += 4) {
    uint32_t word;
    std::memcpy(&word, &rows.codes[i], sizeof word);
    if (kind_ == WeightKind::kInt4) {
      uint32_t high;
      std::memcpy(&high, &rows.codes[i + 4], sizeof high);
      word |= high << 4;
    } else {
      word ^= 0x80808080u;
    }
    std::memcpy(codes, &word, sizeof word);
  }
  for (size_t i = 0; i < rows.scales.size(); ++i) {
    const float second = offsets_ ? rows.offsets[i] : static_cast<float>(rows.zeros[i]);
    if (half_numbers_) {
      const uint16_t pair[] = {core::float_to_half(rows.scales[i]), core::float_to_half(second)};
      std::memcpy(numbers + i * sizeof pair, pair, sizeof pair);
    } else {
      const float pair[] = {rows.scales[i], second};
      std::memcpy(numbers + i * sizeof pair, pair, sizeof pair);
    }
  }
}

int64_t VulkanLinear::input_bytes(int64_t tokens, bool rounded) const {
  const int64_t numbers = tokens * in_features_;
  return rounded ? numbers + numbers / chunk_size(kind_) * 2 * kFloatBytes : numbers * kFloatBytes;
}

void VulkanLinear::multiply(CommandList& commands, const Input& x, bool rounded, int64_t tokens, const DeviceSlice& y,
                            bool accumulate) const {
  struct Push {
    uint32_t rows, columns, tokens, first_row, out_stride;
  };
  const bool is_gemv = tokens <= kGemvTokens;
  const auto gemv_tokens = static_cast<uint32_t>(std::bit_ceil(static_cast<uint64_t>(std::min(tokens, kGemvTokens))));
  const auto kind = static_cast<uint32_t>(kind_);
  const auto group_size = static_cast<uint32_t>(group_size_);
  const uint32_t has_bias = bias_.buffer ? 1 : 0;
  for (const Piece& piece : pieces_) {
    const Push push{static_cast<uint32_t>(piece.rows), static_cast<uint32_t>(in_features_),
                    static_cast<uint32_t>(tokens), static_cast<uint32_t>(piece.first_row),
                    static_cast<uint32_t>(out_features_)};
    const int64_t y_bytes = tokens * piece.rows * kFloatBytes;
    const int64_t weight_bytes = piece.rows * (row_bytes() + number_bytes() + (has_bias ? kFloatBytes : 0));
    const Traffic traffic{weight_bytes + input_bytes(tokens, rounded) + (accumulate ? y_bytes : 0), y_bytes};
    if (is_gemv) {
      commands.dispatch(rounded ? Shader::kGemvInt8 : Shader::kGemv,
                        {kind, group_size, half_numbers_, offsets_, has_bias, accumulate, gemv_tokens}, push,
                        {piece.weights, piece.numbers, x.values, y, bias_, x.blocks},
                        {divide_up(piece.rows, kGemvRows), divide_up(tokens, gemv_tokens)}, traffic);
    } else {
      commands.dispatch(Shader::kGemm, {kind, group_size, half_numbers_, offsets_, has_bias, accumulate}, push,
                        {piece.weights, piece.numbers, x.values, y, bias_},
                        {divide_up(piece.rows, kGemmTile), divide_up(tokens, kGemmTile)}, traffic);
    }
  }
}

bool VulkanLinearStage::reserve(int64_t tokens, int64_t features) {
  if (tokens * features <= reserved_numbers_) return false;
  const auto numbers = static_cast<uint64_t>(tokens * features);
  ordered_ = DeviceBuffer(device_, numbers * sizeof(float), MemoryPlace::kDevice);
  if (activations_ == Activations::kInt8) {
    const auto rounded = static_cast<uint64_t>(std::min(tokens, kGemvTokens) * features);
    rounded_ = DeviceBuffer(device_, rounded, MemoryPlace::kDevice);
    blocks_ = DeviceBuffer(device_, rounded / 16 * 2 * sizeof(float), MemoryPlace::kDevice);
  }
  reserved_numbers_ = tokens * features;
  return true;
}

bool VulkanLinearStage::rounds(const VulkanLinear& linear, int64_t tokens) const {
  return activations_ == Activations::kInt8 && linear.takes_int8() && tokens <= kGemvTokens;
}

VulkanLinear::Input VulkanLinearStage::prepare(CommandList& commands, const DeviceSlice& x, int64_t tokens,
                                               const VulkanLinear& linear) const {
  DeviceSlice values = x;
  if (!linear.column_input().empty()) {
    const auto columns = static_cast<uint32_t>(linear.in_features());
    commands.barrier();
    commands.dispatch(Shader::kGather, {}, columns, {values, linear.column_input_slice(), ordered_.slice()},
                      {divide_up(columns, 256), tokens},
                      {(tokens + 1) * linear.in_features() * kFloatBytes, tokens * linear.in_features() * kFloatBytes});
    values = ordered_.slice();
  }
  if (!rounds(linear, tokens)) return {values, {}};
  const int64_t block = chunk_size(linear.kind());
  const int64_t blocks = tokens * linear.in_features() / block;
  commands.barrier();
  commands.dispatch(Shader::kQuantize, {static_cast<uint32_t>(block)}, static_cast<uint32_t>(blocks),
                    {values, rounded_.slice(), blocks_.slice()}, {divide_up(blocks, 64)},
                    {linear.input_bytes(tokens, false), linear.input_bytes(tokens, true)});
  return {rounded_.slice(), blocks_.slice()};
}

void VulkanLinearStage::run(CommandList& commands, const DeviceSlice& x, int64_t tokens,
                            std::initializer_list<Output> outputs) const {
  const VulkanLinear* prepared_for = nullptr;
  VulkanLinear::Input input;
  commands.barrier();
  for (const Output& output : outputs) {
    if (!output.linear) continue;
    const VulkanLinear& linear = *output.linear;
    const bool is_prepared = prepared_for && prepared_for->column_input() == linear.column_input() &&
                             rounds(*prepared_for, tokens) == rounds(linear, tokens) &&
                             (!rounds(linear, tokens) || prepared_for->kind() == linear.kind());
    if (!is_prepared) {
      input = prepare(commands, x, tokens, linear);
      prepared_for = &linear;
      commands.barrier();
    }
    linear.multiply(commands, input, rounds(linear, tokens), tokens, output.y, output.accumulate);
  }
}

}  // namespace salient::runner
