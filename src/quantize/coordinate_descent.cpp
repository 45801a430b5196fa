#include "quantize/coordinate_descent.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/group_grid.h"
#include "quantize/rounding.h"
#include "quantize/tiles.h"

namespace salient::quantize {

namespace {

constexpr int64_t kRowBlock = 96;

/// Moves the scale of one group to its least-squares fit. `levels` are the codes less the zero point, `products` these
/// times H_gg, `square` their quadratic form. `gradient`, the group's columns of d H, follows the errors.
void move_scale(const float* levels, const float* products, double square, int size, float& scale, float* errors,
                float* gradient) {
  if (!(square > 0)) return;
  const double slope = dot(levels, gradient, size);
  const float moved = core::half_to_float(core::float_to_half(static_cast<float>(scale - slope / square)));
  if (!(moved >= core::kSmallestHalf) || !std::isfinite(moved)) return;
  const float step = moved - scale;
  if (!(step * (step * square + 2 * slope) < 0)) return;
  scale = moved;
  for (int i = 0; i < size; ++i) {
    errors[i] += step * levels[i];
    gradient[i] += step * products[i];
  }
}

/// Moves each code of one group to where the error is least, the others as they are.
void move_codes(const Matrix& gram, int64_t first, int size, const Grid& grid, uint8_t* codes, float* errors,
                float* gradient) {
  for (int k = 0; k < size; ++k) {
    const float* h = gram.row(first + k) + first;
    if (!(h[k] > 0)) continue;
    const int code = codes[k];
    const int moved = grid.code_of(grid.value_of(code) - gradient[k] / h[k]);
    if (moved == code) continue;
    const float step = static_cast<float>(moved - code) * grid.scale;
    codes[k] = static_cast<uint8_t>(moved);
    errors[k] += step;
    for (int i = 0; i < size; ++i) gradient[i] += step * h[i];
  }
}

/// One sweep over the group for a block of rows.
class GroupSweep {
 public:
  GroupSweep(const GroupedForm& form, std::span<const Tiles> inputs, int64_t rows, int group_size)
      : form_(form),
        inputs_(inputs),
        size_(group_size),
        levels_(rows, group_size),
        products_(rows, group_size),
        gradients_(rows, group_size),
        squares_(static_cast<size_t>(rows)) {}

  void run(int64_t group, int64_t first_row, Matrix& errors, core::QuantizedTensor& rounded) {
    const int64_t rows = errors.rows;
    const int64_t groups = rounded.groups();
    const int64_t first = group * size_;
    inputs_[group].multiply(0, size_, errors.row(0), errors.columns, rows, /*accumulate=*/false, gradients_.row(0),
                            size_);
    for (int64_t row = 0; row < rows; ++row) {
      const uint8_t* codes = &rounded.codes[(first_row + row) * errors.columns + first];
      const int zero = rounded.zeros[(first_row + row) * groups + group];
      for (int i = 0; i < size_; ++i) levels_.row(row)[i] = static_cast<float>(codes[i] - zero);
    }
    form_.groups[group].evaluate(levels_.row(0), rows, size_, products_.row(0), squares_.data());
    for (int64_t row = 0; row < rows; ++row) {
      float& scale = rounded.scales[(first_row + row) * groups + group];
      move_scale(levels_.row(row), products_.row(row), squares_[row], size_, scale, errors.row(row) + first,
                 gradients_.row(row));
      move_codes(form_.gram, first, size_, {scale, rounded.zeros[(first_row + row) * groups + group]},
                 &rounded.codes[(first_row + row) * errors.columns + first], errors.row(row) + first,
                 gradients_.row(row));
    }
  }

 private:
  const GroupedForm& form_;
  std::span<const Tiles> inputs_;  ///< the rows of H of each group
  int size_;
  Matrix levels_;
  Matrix products_;
  Matrix gradients_;
  std::vector<double> squares_;
};

}  // namespace

void descend(const Matrix& target, const GroupedForm& form, int sweeps, core::QuantizedTensor& rounded,
             core::ThreadPool& pool) {
  std::vector<Tiles> inputs;
  for (int64_t group = 0; group < rounded.groups(); ++group) inputs.emplace_back(rounded.group_size, target.columns);
  pool.each(rounded.groups(), [&](int64_t group) {
    inputs[group].pack(form.gram.row(group * rounded.group_size), target.columns, 1, rounded.group_size,
                       target.columns);
  });
  pool.each((target.rows + kRowBlock - 1) / kRowBlock, [&](int64_t block) {
    const int64_t first = block * kRowBlock;
    const int64_t count = std::min(kRowBlock, target.rows - first);
    Matrix errors(count, target.columns);
    rounded.dequantize_rows(first, count, errors.row(0));
    for (int64_t i = 0; i < count * target.columns; ++i) errors.values[i] -= target.row(first)[i];
    GroupSweep sweep(form, inputs, count, rounded.group_size);
    for (int i = 0; i < sweeps; ++i) {
      for (int64_t group = 0; group < rounded.groups(); ++group) sweep.run(group, first, errors, rounded);
    }
  });
}

}  // namespace salient::quantize
