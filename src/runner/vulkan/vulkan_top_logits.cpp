#include "runner/vulkan/vulkan_top_logits.h"

#include <algorithm>
#include <bit>

namespace salient::runner {

namespace {

/// Numbers that a workgroup of shaders/top_logits.comp looks at.
constexpr int64_t kPartSize = 2048;

int64_t parts_of(int64_t size) {
  return (size + kPartSize - 1) / kPartSize;
}

/// Candidates of one row that the first search leaves, and of those the second.
std::array<int64_t, 2> most_candidates(int64_t size) {
  const int64_t first = parts_of(size) * VulkanTopLogits::kMost;
  return {first, parts_of(first) * VulkanTopLogits::kMost};
}

}  // namespace

static_assert(sizeof(TokenLogit) == 8, "it is what the shader writes");

VulkanTopLogits::VulkanTopLogits(const VulkanDevice& device, int64_t rows, int64_t size) {
  for (size_t i = 0; i < candidates_.size(); ++i) {
    const auto count = static_cast<uint64_t>(rows * most_candidates(size)[i]);
    candidates_[i] = DeviceBuffer(device, count * sizeof(TokenLogit), MemoryPlace::kDevice);
  }
}

int64_t VulkanTopLogits::places(int64_t count) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count)));
}

uint64_t VulkanTopLogits::bytes(int64_t rows, int64_t size) {
  const auto [first, second] = most_candidates(size);
  return static_cast<uint64_t>(rows * (first + second)) * sizeof(TokenLogit);
}

DeviceSlice VulkanTopLogits::record(CommandList& commands, const DeviceSlice& logits, int64_t rows, int64_t size,
                                    int64_t places) const {
  DeviceSlice input = logits;
  int64_t number_bytes = sizeof(float);
  for (size_t run = 0;; ++run) {
    const int64_t parts = parts_of(size);
    const int64_t output_bytes = rows * parts * places * static_cast<int64_t>(sizeof(TokenLogit));
    const DeviceSlice output = candidates_[run % 2].slice().part(0, static_cast<uint64_t>(output_bytes));
    commands.barrier();
    commands.dispatch(Shader::kTopLogits, {static_cast<uint32_t>(places), run == 0}, static_cast<uint32_t>(size),
                      {input, input, output}, {parts, rows}, {rows * size * number_bytes, output_bytes});
    if (parts == 1) return output;
    input = output;
    size = parts * places;
    number_bytes = sizeof(TokenLogit);
  }
}

std::vector<TokenLogit> VulkanTopLogits::read(const TokenLogit* row, int64_t count) {
  return {row, std::find_if(row, row + count, [](const TokenLogit& place) { return place.id < 0; })};
}

}  // namespace salient::runner
