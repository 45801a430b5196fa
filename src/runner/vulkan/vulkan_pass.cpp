#include "runner/vulkan/vulkan_pass.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace salient::runner {

namespace {

constexpr uint64_t kAlignment = 256;
/// Queries of a block of attention share what is read of keys and values; each costs registers for its values.
constexpr int64_t kBlockRows = 16;
constexpr int64_t kBlockRowsOfWideHeads = 8;
constexpr int64_t kWideHead = 128;
constexpr int64_t kMostMembers = 8;
/// Where there are few tokens, the context is shared out in parts of so many keys.
constexpr int64_t kPartKeys = 512;
constexpr int64_t kTokensThatFillADevice = 16;
/// Room for page ids grows in steps: a recording holds as long as the room does.
constexpr int64_t kSmallestPageRoom = 64;
constexpr int64_t kFloatBytes = sizeof(float);

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

uint32_t word(int64_t value) {
  return static_cast<uint32_t>(value);
}

}  // namespace

VulkanPass::VulkanPass(const model::DecoderSpec& spec, const VulkanDevice& device, Pipelines& pipelines,
                       const VulkanWeights& weights, const VulkanKvCache& cache, Activations activations)
    : spec_(spec),
      device_(device),
      weights_(weights),
      cache_(cache),
      linears_(device, activations),
      commands_(device, pipelines),
      wanted_(device, static_cast<uint64_t>(kHeadRows * spec.hidden_size) * sizeof(float), MemoryPlace::kDevice),
      logits_(device, static_cast<uint64_t>(kHeadRows * spec.vocab_size) * sizeof(float), MemoryPlace::kDevice),
      top_logits_(device, kHeadRows, spec.vocab_size),
      read_back_(
          device,
          static_cast<uint64_t>(kHeadRows * std::max(read_back_bytes(0), read_back_bytes(VulkanTopLogits::kMost))),
          MemoryPlace::kReadback) {
  for (const model::Rope& rope : spec.ropes) {
    const auto& extended = rope.has_regimes() ? rope.long_frequencies : rope.frequencies;
    ropes_.push_back({model::RopeTable(rope.frequencies, rope.magnitude), model::RopeTable(extended, rope.magnitude)});
  }
}

int64_t VulkanPass::member_blocks() const {
  return divide_up(spec_.heads / spec_.kv_heads, kMostMembers);
}

int64_t VulkanPass::members() const {
  return divide_up(spec_.heads / spec_.kv_heads, member_blocks());
}

uint64_t VulkanPass::most_bytes(const model::DecoderSpec& spec) {
  const int64_t widest = std::max({spec.hidden_size, spec.query_size(), spec.intermediate_size});
  const int64_t of_token = 4 * spec.hidden_size + 3 * spec.query_size() + 2 * spec.heads + 2 * spec.kv_size() +
                           2 * spec.intermediate_size + widest;
  const int64_t of_row = spec.hidden_size + spec.vocab_size;
  return static_cast<uint64_t>((kMostTokens * of_token + kHeadRows * of_row) * kFloatBytes) +
         VulkanTopLogits::bytes(kHeadRows, spec.vocab_size);
}

int64_t VulkanPass::read_back_bytes(int64_t top_count) const {
  if (top_count == 0) return spec_.vocab_size * kFloatBytes;
  return VulkanTopLogits::places(top_count) * static_cast<int64_t>(sizeof(TokenLogit));
}

VulkanPass::Shape VulkanPass::shape_of(std::span<const VulkanSlice> slices, std::span<const int64_t> wanted,
                                       int64_t top_count) const {
  Shape shape;
  shape.wanted.assign(wanted.begin(), wanted.end());
  if (top_count > 0) shape.top_places = VulkanTopLogits::places(top_count);
  shape.cache_generation = cache_.generation();
  int64_t longest = 0;
  int64_t pages = 0;
  int64_t most_tokens = 0;
  for (const VulkanSlice& slice : slices) {
    shape.tokens += slice.tokens;
    most_tokens = std::max(most_tokens, slice.tokens);
    longest = std::max(longest, slice.first_position + slice.tokens);
    pages += std::ssize(slice.pages);
  }
  const int64_t rows = spec_.head_dim > kWideHead ? kBlockRowsOfWideHeads : kBlockRows;
  shape.block_tokens = most_tokens == 1 ? 1 : std::max<int64_t>(rows / members(), 1);
  for (const VulkanSlice& slice : slices) shape.blocks += divide_up(slice.tokens, shape.block_tokens);
  shape.parts = shape.tokens < kTokensThatFillADevice ? divide_up(longest, kPartKeys) : 1;
  // One part takes all keys there may be, so that a recording does not depend on how many there are.
  shape.part_keys = shape.parts == 1 ? int64_t{1} << 30 : kPartKeys;
  shape.page_room = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(pages, kSmallestPageRoom))));
  return shape;
}

VulkanPass::Sections VulkanPass::sections_of(const Shape& shape) const {
  Sections sections;
  const auto take = [&](int64_t numbers) {
    const uint64_t first = sections.end;
    const auto bytes = static_cast<uint64_t>(std::max<int64_t>(numbers, 1)) * sizeof(uint32_t);
    sections.end += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return first;
  };
  sections.hidden = take(shape.tokens * spec_.hidden_size);
  sections.rows = take(shape.tokens * 2);
  sections.blocks = take(shape.blocks * 4);
  for (const model::Rope& rope : spec_.ropes) sections.angles.push_back(take(shape.tokens * rope.rotary_dim));
  sections.pages = take(shape.page_room);
  return sections;
}

void VulkanPass::reserve(const Shape& shape, const Sections& sections) {
  const auto renew = [&](DeviceBuffer& buffer, int64_t numbers) {
    const auto bytes = static_cast<uint64_t>(numbers) * sizeof(float);
    if (bytes <= buffer.bytes()) return;
    buffer = DeviceBuffer();
    buffer = DeviceBuffer(device_, bytes, MemoryPlace::kDevice);
    recorded_.reset();
  };
  if (sections.end > std::min(upload_.bytes(), description_.bytes())) {
    upload_ = DeviceBuffer(device_, sections.end, MemoryPlace::kUpload);
    description_ = DeviceBuffer(device_, sections.end, MemoryPlace::kDevice);
    recorded_.reset();
  }
  const int64_t tokens = std::max(shape.tokens, int64_t{1});
  renew(hidden_, tokens * spec_.hidden_size);
  renew(normed_, std::max(tokens, kHeadRows) * spec_.hidden_size);
  renew(query_, tokens * spec_.query_size());
  renew(key_, tokens * spec_.kv_size());
  renew(value_, tokens * spec_.kv_size());
  renew(attended_, tokens * spec_.query_size());
  renew(parts_, tokens * spec_.heads * shape.parts * (spec_.head_dim + 2));
  if (spec_.post_norms) renew(projected_, tokens * spec_.hidden_size);
  if (spec_.gated_mlp) renew(gate_, tokens * spec_.intermediate_size);
  renew(up_, tokens * spec_.intermediate_size);
  const int64_t widest = std::max({spec_.hidden_size, spec_.query_size(), spec_.intermediate_size});
  if (linears_.reserve(std::max(tokens, kHeadRows), widest)) recorded_.reset();
}

void VulkanPass::describe(std::span<const VulkanSlice> slices, std::span<const float> hidden, const Shape& shape,
                          const Sections& sections) {
  std::byte* base = upload_.mapped();
  std::memcpy(base + sections.hidden, hidden.data(), hidden.size_bytes());
  auto* rows = reinterpret_cast<uint32_t*>(base + sections.rows);
  auto* blocks = reinterpret_cast<uint32_t*>(base + sections.blocks);
  auto* pages = reinterpret_cast<uint32_t*>(base + sections.pages);
  uint32_t first_page = 0;
  for (const VulkanSlice& slice : slices) {
    for (size_t i = 0; i < slice.pages.size(); ++i) pages[first_page + i] = word(slice.pages[i]);
    for (int64_t i = 0; i < slice.tokens; ++i) {
      *rows++ = word(slice.first_position + i);
      *rows++ = first_page;
    }
    for (int64_t i = 0; i < slice.tokens; i += shape.block_tokens) {
      *blocks++ = word(slice.first_row + i);
      *blocks++ = word(std::min(shape.block_tokens, slice.tokens - i));
      *blocks++ = word(slice.first_position + i);
      *blocks++ = first_page;
    }
    first_page += word(std::ssize(slice.pages));
  }
  for (size_t r = 0; r < ropes_.size(); ++r) {
    const int64_t pairs = spec_.ropes[r].rotary_dim / 2;
    auto* angles = reinterpret_cast<float*>(base + sections.angles[r]);
    for (const VulkanSlice& slice : slices) {
      model::RopeTable& table =
          slice.long_rope && spec_.ropes[r].has_regimes() ? ropes_[r].extended : ropes_[r].ordinary;
      table.grow(slice.first_position + slice.tokens);
      for (int64_t i = 0; i < slice.tokens; ++i) {
        const float* cos = table.cos(slice.first_position + i);
        const float* sin = table.sin(slice.first_position + i);
        for (int64_t pair = 0; pair < pairs; ++pair) {
          *angles++ = cos[pair];
          *angles++ = sin[pair];
        }
      }
    }
  }
}

void VulkanPass::record_norm(const DeviceSlice& x, const VulkanNorm& norm, int64_t tokens, const DeviceSlice& y,
                             bool accumulate) {
  struct Push {
    uint32_t size;
    float epsilon;
  };
  const int64_t bytes = tokens * spec_.hidden_size * kFloatBytes;
  commands_.barrier();
  commands_.dispatch(Shader::kNorm, {norm.bias.buffer ? 1u : 0u, accumulate},
                     Push{word(spec_.hidden_size), spec_.norm_epsilon}, {x, norm.weight, norm.bias, y}, {tokens},
                     {(accumulate ? 2 : 1) * bytes + static_cast<int64_t>(norm.weight.bytes + norm.bias.bytes), bytes});
}

void VulkanPass::record_attention(const VulkanLayer& layer, int64_t index, const Shape& shape,
                                  const Sections& sections) {
  const DeviceSlice description = description_.slice();
  const auto section = [&](uint64_t first, uint64_t end) { return description.part(first, end - first); };
  const DeviceSlice pages = section(sections.pages, sections.end);
  const DeviceSlice cache = cache_.layer(index);
  const int rope = layer.attention.rope;
  const uint32_t head_dim = word(spec_.head_dim);
  struct RotatePush {
    uint32_t heads, kv_heads;
    float epsilon;
  };
  const uint32_t rotary_dim = rope >= 0 ? word(spec_.ropes[static_cast<size_t>(rope)].rotary_dim) : 0;
  const DeviceSlice angles =
      rope >= 0 ? section(sections.angles[static_cast<size_t>(rope)], sections.end) : DeviceSlice();
  const int64_t query_bytes = shape.tokens * spec_.query_size() * kFloatBytes;
  const int64_t key_bytes = shape.tokens * spec_.kv_size() * kFloatBytes;
  const int64_t stored_bytes = shape.tokens * cache_.bytes_per_token() / spec_.layers;
  const bool is_int8 = cache_.dtype() == core::DType::kI8;
  commands_.barrier();
  commands_.dispatch(Shader::kRotate, {head_dim, rotary_dim, layer.head_norms.exists(), is_int8},
                     RotatePush{word(spec_.heads), word(spec_.kv_heads), spec_.norm_epsilon},
                     {query_.slice(), key_.slice(), value_.slice(), section(sections.rows, sections.end), pages, angles,
                      layer.head_norms.weight, cache},
                     {spec_.heads + 2 * spec_.kv_heads, shape.tokens},
                     {query_bytes + 2 * key_bytes + shape.tokens * (rotary_dim + 2) * kFloatBytes +
                          static_cast<int64_t>(layer.head_norms.weight.bytes),
                      query_bytes + stored_bytes});
  // Keys and values of earlier tokens, whose number is data, are not counted.
  const int64_t part_bytes = shape.tokens * spec_.heads * shape.parts * (spec_.head_dim + 2) * kFloatBytes;
  struct AttentionPush {
    uint32_t kv_heads;
    float scale, soft_cap;
    uint32_t window, part_keys;
  };
  commands_.barrier();
  commands_.dispatch(Shader::kAttention,
                     {head_dim, word(spec_.heads / spec_.kv_heads), word(members()), word(shape.block_tokens),
                      spec_.attention_soft_cap > 0, is_int8},
                     AttentionPush{word(spec_.kv_heads), spec_.attention_scale, spec_.attention_soft_cap,
                                   word(layer.attention.window), word(shape.part_keys)},
                     {query_.slice(), section(sections.blocks, sections.end), pages, cache, cache, parts_.slice()},
                     {spec_.kv_heads * member_blocks(), shape.blocks, shape.parts},
                     {query_bytes + shape.blocks * 4 * kFloatBytes, part_bytes});
  commands_.barrier();
  commands_.dispatch(Shader::kMerge, {head_dim}, word(shape.parts), {parts_.slice(), attended_.slice()},
                     {spec_.heads, shape.tokens}, {part_bytes, query_bytes});
}

void VulkanPass::record_residual(const DeviceSlice& x, const VulkanLinear& linear, const VulkanNorm& post_norm,
                                 int64_t tokens) {
  if (!post_norm.exists()) {
    linears_.run(commands_, x, tokens, {{&linear, hidden_.slice(), true}});
    return;
  }
  linears_.run(commands_, x, tokens, {{&linear, projected_.slice()}});
  record_norm(projected_.slice(), post_norm, tokens, hidden_.slice(), true);
}

void VulkanPass::record_layer(const VulkanLayer& layer, int64_t index, const Shape& shape, const Sections& sections) {
  const int64_t tokens = shape.tokens;
  record_norm(hidden_.slice(), layer.attention_norm, tokens, normed_.slice(), false);
  linears_.run(commands_, normed_.slice(), tokens,
               {{&layer.query, query_.slice()}, {&layer.key, key_.slice()}, {&layer.value, value_.slice()}});
  record_attention(layer, index, shape, sections);
  record_residual(attended_.slice(), layer.output, layer.post_attention, tokens);
  // A parallel MLP has no norm of its own: it reads what attention read.
  if (layer.mlp_norm.exists()) record_norm(hidden_.slice(), layer.mlp_norm, tokens, normed_.slice(), false);
  linears_.run(commands_, normed_.slice(), tokens,
               {{layer.gate ? &*layer.gate : nullptr, gate_.slice()}, {&layer.up, up_.slice()}});
  const int64_t count = tokens * spec_.intermediate_size;
  constexpr int64_t kThreads = 256;
  constexpr int64_t kRowOfGroups = 4096;
  const int64_t groups = divide_up(count, kThreads);
  commands_.barrier();
  commands_.dispatch(Shader::kActivate, {spec_.activation == model::ActivationKind::kGelu, layer.gate.has_value()},
                     word(count), {layer.gate ? gate_.slice() : up_.slice(), up_.slice()},
                     {std::min(groups, kRowOfGroups), divide_up(groups, kRowOfGroups)},
                     {(layer.gate ? 2 : 1) * count * kFloatBytes, count * kFloatBytes});
  record_residual(up_.slice(), layer.down, layer.post_mlp, tokens);
}

void VulkanPass::record_head(std::span<const int64_t> wanted, int64_t top_places) {
  const auto row_bytes = static_cast<uint64_t>(spec_.hidden_size) * sizeof(float);
  const auto rows = std::ssize(wanted);
  commands_.barrier();
  for (int64_t i = 0; i < rows;) {
    int64_t end = i + 1;
    while (end < rows && wanted[end] == wanted[end - 1] + 1) ++end;
    const uint64_t bytes = static_cast<uint64_t>(end - i) * row_bytes;
    commands_.copy(hidden_.slice().part(static_cast<uint64_t>(wanted[i]) * row_bytes, bytes),
                   wanted_.slice().part(static_cast<uint64_t>(i) * row_bytes, bytes));
    i = end;
  }
  record_norm(wanted_.slice(), weights_.final_norm, rows, normed_.slice(), false);
  linears_.run(commands_, normed_.slice(), rows, {{&*weights_.head, logits_.slice()}});
  const uint64_t bytes = static_cast<uint64_t>(rows * spec_.vocab_size) * sizeof(float);
  DeviceSlice result = logits_.slice().part(0, bytes);
  if (top_places > 0) result = top_logits_.record(commands_, result, rows, spec_.vocab_size, top_places);
  commands_.barrier();
  commands_.copy(result, read_back_.slice().part(0, result.bytes));
}

void VulkanPass::record(const Shape& shape, const Sections& sections) {
  commands_.begin();
  const uint64_t hidden_bytes = static_cast<uint64_t>(shape.tokens * spec_.hidden_size) * sizeof(float);
  commands_.copy(upload_.slice().part(sections.hidden, hidden_bytes), hidden_.slice().part(0, hidden_bytes));
  const uint64_t rest = sections.end - sections.rows;
  commands_.copy(upload_.slice().part(sections.rows, rest), description_.slice().part(sections.rows, rest));
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    record_layer(weights_.layers[i], static_cast<int64_t>(i), shape, sections);
  }
  const auto head_rows = std::min<size_t>(shape.wanted.size(), kHeadRows);
  if (head_rows > 0) record_head(std::span(shape.wanted).first(head_rows), shape.top_places);
  commands_.end();
}

void VulkanPass::read_rows(int64_t rows, VulkanOutput& output) const {
  if (output.top_count == 0) {
    const auto* values = reinterpret_cast<const float*>(read_back_.mapped());
    output.logits.insert(output.logits.end(), values, values + rows * spec_.vocab_size);
    return;
  }
  const auto* row = reinterpret_cast<const TokenLogit*>(read_back_.mapped());
  const int64_t places = VulkanTopLogits::places(output.top_count);
  for (int64_t i = 0; i < rows; ++i, row += places) {
    output.top_logits.push_back(VulkanTopLogits::read(row, output.top_count));
  }
}

Traffic VulkanPass::count(const VulkanSlice& slice, int64_t top_count) {
  const int64_t wanted[] = {slice.tokens - 1};
  const Shape shape = shape_of(std::span(&slice, 1), wanted, top_count);
  const Sections sections = sections_of(shape);
  reserve(shape, sections);
  recorded_.reset();
  record(shape, sections);
  dispatches_ = commands_.dispatches();
  return commands_.traffic();
}

void VulkanPass::run(std::span<const VulkanSlice> slices, std::span<const float> hidden,
                     std::span<const int64_t> wanted, VulkanOutput& output) {
  const Shape shape = shape_of(slices, wanted, output.top_count);
  const Sections sections = sections_of(shape);
  reserve(shape, sections);
  describe(slices, hidden, shape, sections);
  if (recorded_ != shape) {
    recorded_.reset();
    record(shape, sections);
    recorded_ = shape;
  }
  commands_.run();
  dispatches_ = commands_.dispatches();
  const int64_t count = std::ssize(wanted);
  read_rows(std::min(count, kHeadRows), output);
  for (int64_t done = kHeadRows; done < count; done += kHeadRows) {
    const int64_t rows = std::min(kHeadRows, count - done);
    recorded_.reset();
    commands_.begin();
    record_head(wanted.subspan(static_cast<size_t>(done), static_cast<size_t>(rows)), shape.top_places);
    commands_.end();
    commands_.run();
    dispatches_ += commands_.dispatches();
    read_rows(rows, output);
  }
}

}  // namespace salient::runner
