#include "core/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "core/error.h"

namespace salient::core {
namespace {

TEST(Arena, HandsOutZeroedAlignedPiecesThatDoNotOverlap) {
  Arena arena(4096);
  std::vector<std::span<uint8_t>> pieces;
  for (const size_t size : {1u, 63u, 64u, 65u, 4000u, 100u, 10000u, 7u}) {
    pieces.push_back(arena.allocate<uint8_t>(size));
    ASSERT_EQ(pieces.back().size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pieces.back().data()) % 64, 0u);
    for (const uint8_t byte : pieces.back()) ASSERT_EQ(byte, 0);
    for (uint8_t& byte : pieces.back()) byte = static_cast<uint8_t>(pieces.size());
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (const uint8_t byte : pieces[i]) ASSERT_EQ(byte, i + 1);
  }
}

TEST(Arena, PacksPiecesOfASlabBehindEachOther) {
  Arena arena(1 << 20);
  const auto first = arena.allocate<float>(1000);
  const auto second = arena.allocate<float>(16);
  EXPECT_EQ(reinterpret_cast<const std::byte*>(second.data()) - reinterpret_cast<const std::byte*>(first.data()), 4032);
}

TEST(Arena, GivesNothingForNothing) {
  Arena arena;
  EXPECT_TRUE(arena.allocate<float>(0).empty());
}

TEST(Arena, RefusesSizesThatNoMemoryHolds) {
  Arena arena;
  EXPECT_THROW(arena.allocate<double>(std::numeric_limits<size_t>::max() / 2), Error);
  EXPECT_EQ(arena.allocate<double>(3).size(), 3u);
}

}  // namespace
}  // namespace salient::core
