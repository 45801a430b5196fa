#include "core/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "tests/support/expect_error.h"

namespace salient::core {
namespace {

TEST(Buffer, IsZeroedAndAlignedToAPage) {
  for (const size_t size : {size_t{1}, size_t{1000}, size_t{4096}, size_t{3} << 20}) {
    const Buffer<float> buffer(size);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u) << size;
    EXPECT_TRUE(std::all_of(buffer.span().begin(), buffer.span().end(), [](float value) { return value == 0; }));
  }
}

TEST(Buffer, OfNothingHasNoMemory) {
  EXPECT_EQ(Buffer<int>().size(), 0u);
  EXPECT_EQ(Buffer<int>(0).data(), nullptr);
}

TEST(Buffer, MovesItsMemory) {
  Buffer<int> first(5);
  first[4] = 7;
  const Buffer<int> second = std::move(first);
  EXPECT_EQ(second.size(), 5u);
  EXPECT_EQ(second[4], 7);
}

TEST(Buffer, OfAnImpossibleSizeIsOutOfMemory) {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  tests::expect_error(ErrorKind::kOutOfMemory, {"MiB of memory"}, [] { allocate_pages(kMost); });
  // The bytes of these overflow: 2^64 + 8 would look like 8.
  tests::expect_error(ErrorKind::kOutOfMemory, {"MiB of memory"}, [] { Buffer<double>(kMost / 8 + 2); });
}

}  // namespace
}  // namespace salient::core
