#include "quantize/tiles.h"

#include <gtest/gtest.h>

#include "tests/quantize/reference.h"

namespace salient::quantize {
namespace {

TEST(Tiles, MultiplyRowsWithAMatrixOrItsTranspose) {
  const Matrix source = random_matrix(40, 50, 1);
  const Matrix x = random_matrix(7, 60, 2);
  Tiles tiles(50, 50);
  for (const bool transposed : {false, true}) {
    const int64_t rows = transposed ? 37 : 23;
    const int64_t columns = transposed ? 21 : 45;
    const auto element = [&](int64_t r, int64_t c) { return transposed ? source.row(c)[r] : source.row(r)[c]; };
    tiles.pack(source.row(0), transposed ? 1 : 50, transposed ? 50 : 1, rows, columns);
    EXPECT_EQ(tiles.rows(), rows);
    for (const int64_t first : {0, 16}) {
      Matrix y(7, rows - first);
      for (float& value : y.values) value = 3.0f;
      tiles.multiply(first, rows, x.row(0), 60, 7, /*accumulate=*/true, y.row(0), y.columns);
      for (int64_t i = 0; i < 7; ++i) {
        for (int64_t r = first; r < rows; ++r) {
          double expected = 3;
          for (int64_t c = 0; c < columns; ++c) expected += double{x.row(i)[c]} * element(r, c);
          EXPECT_NEAR(y.row(i)[r - first], expected, 1e-4) << i << ", " << r;
        }
      }
    }
  }
}

TEST(Tiles, MultiplyingAPartOfTheRowsOverwritesOnlyThat) {
  const Matrix source = random_matrix(48, 20, 3);
  const Matrix x = random_matrix(2, 20, 4);
  Tiles tiles(48, 20);
  tiles.pack(source.row(0), 20, 1, 48, 20);
  Matrix all(2, 48);
  tiles.multiply(0, 48, x.row(0), 20, 2, false, all.row(0), 48);
  Matrix part(2, 40);
  for (float& value : part.values) value = -1.0f;
  tiles.multiply(16, 32, x.row(0), 20, 2, false, part.row(0), 40);
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t r = 0; r < 16; ++r) EXPECT_EQ(part.row(i)[r], all.row(i)[16 + r]);
    for (int64_t r = 16; r < 40; ++r) EXPECT_EQ(part.row(i)[r], -1.0f);
  }
}

}  // namespace
}  // namespace salient::quantize
