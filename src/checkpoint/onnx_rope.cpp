#include "checkpoint/onnx_rope.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/math.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;

namespace {

constexpr int64_t kCheckedRows = 256;

/// The cosines and sines of a table, divided by its magnitude.
class Table {
 public:
  Table(const OnnxRopeTable& table, const std::string& origin) : table_(table), origin_(origin) {
    for (const OnnxTensor* tensor : {table.cosines, table.sines}) {
      const auto dtype = tensor->dtype();
      if (tensor->shape.size() != 2 || tensor->shape != table.cosines->shape || tensor->shape[1] < 1 ||
          (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16)) {
        fail(ErrorKind::kUnsupported, "{}: {} is [{}], expected as many cosines as sines in F32, F16 or BF16", origin,
             tensor->name, fmt::join(tensor->shape, ", "));
      }
    }
    if (table.first < 0 || table.count < 2 || table.count > table.cosines->shape[0] - table.first) {
      fail(ErrorKind::kUnsupported, "{}: {} has {} rows, expected {} from row {} on", origin, table.cosines->name,
           table.cosines->shape[0], table.count, table.first);
    }
    pairs_ = table.cosines->shape[1];
    magnitude_ = at(*table.cosines, 0, 0);
    if (!(magnitude_ > 0) || !std::isfinite(magnitude_)) refuse(0, 0);
  }

  int64_t rows() const { return table_.count; }
  int64_t pairs() const { return pairs_; }
  float magnitude() const { return magnitude_; }
  double cosine(int64_t row, int64_t pair) const { return double{at(*table_.cosines, row, pair)} / magnitude_; }
  double sine(int64_t row, int64_t pair) const { return double{at(*table_.sines, row, pair)} / magnitude_; }

  [[noreturn]] void refuse(int64_t row, int64_t pair) const {
    fail(ErrorKind::kUnsupported, "{}: {} and {} hold {} and {} in row {}, column {}, which no rotary embedding has",
         origin_, table_.cosines->name, table_.sines->name, at(*table_.cosines, row, pair),
         at(*table_.sines, row, pair), table_.first + row, pair);
  }

 private:
  float at(const OnnxTensor& tensor, int64_t row, int64_t pair) const {
    const int64_t index = (table_.first + row) * tensor.shape[1] + pair;
    if (tensor.dtype() == DType::kF32) {
      float value;
      std::memcpy(&value, tensor.bytes.data() + index * 4, sizeof value);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, tensor.bytes.data() + index * 2, sizeof bits);
    return tensor.dtype() == DType::kF16 ? core::half_to_float(bits) : core::bfloat16_to_float(bits);
  }

  const OnnxRopeTable& table_;
  const std::string& origin_;
  int64_t pairs_ = 0;
  float magnitude_ = 1;
};

/// The angle of row `row` that is nearest to `estimate`: sin(angle - estimate) is how far off an estimate is, all but
/// its third power.
double angle_near(double estimate, const Table& table, int64_t row, int64_t pair) {
  const double cosine = table.cosine(row, pair);
  const double sine = table.sine(row, pair);
  if (!(std::fabs(cosine) < 1.1) || !(std::fabs(sine) < 1.1)) table.refuse(row, pair);
  for (int step = 0; step < 8; ++step) estimate += sine * core::cos(estimate) - cosine * core::sin(estimate);
  return estimate;
}

float recover_frequency(const Table& table, int64_t pair) {
  double frequency = angle_near(0, table, 1, pair);
  // Embeddings turn by at most a radian a position. From each row to the one twice as far down, the estimate is far
  // better than the half turn that would make it ambiguous.
  if (!(frequency > 0) || frequency > 3) table.refuse(1, pair);
  int64_t row = 2;
  for (; row < table.rows(); row *= 2) {
    frequency = angle_near(static_cast<double>(row) * frequency, table, row, pair) / static_cast<double>(row);
  }
  // The mean over the later half removes most of what rounding the table has left.
  const int64_t first = table.rows() / 2;
  const int64_t step = std::max<int64_t>(1, (table.rows() - first) / kCheckedRows);
  double sum = 0;
  int64_t count = 0;
  for (row = first; row < table.rows(); row += step, ++count) {
    sum += angle_near(static_cast<double>(row) * frequency, table, row, pair) / static_cast<double>(row);
  }
  return static_cast<float>(sum / static_cast<double>(count));
}

/// Looks whether the frequency makes the table, but for rounding: of the table to half floats, and of the angle to
/// floats in whatever order it was computed.
void check_frequency(const Table& table, int64_t pair, float frequency) {
  const int64_t step = std::max<int64_t>(1, table.rows() / kCheckedRows);
  for (int64_t row = 0; row < table.rows(); row += step) {
    const double angle = static_cast<double>(row) * frequency;
    const double tolerance = 2e-3 + angle * 0x1p-21;
    if (!(std::fabs(core::cos(angle) - table.cosine(row, pair)) <= tolerance) ||
        !(std::fabs(core::sin(angle) - table.sine(row, pair)) <= tolerance)) {
      table.refuse(row, pair);
    }
  }
}

nlohmann::json recover_frequencies(const Table& table) {
  nlohmann::json frequencies = nlohmann::json::array();
  for (int64_t pair = 0; pair < table.pairs(); ++pair) {
    const float frequency = recover_frequency(table, pair);
    check_frequency(table, pair, frequency);
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace

nlohmann::json recover_rope(const OnnxRope& rope, const std::string& origin) {
  const Table table(rope.table, origin);
  nlohmann::json parameters = {
      {"rope_type", "frequencies"}, {"frequencies", recover_frequencies(table)}, {"magnitude", table.magnitude()}};
  if (rope.original_positions == 0) return parameters;
  const Table long_table(rope.long_table, origin);
  if (long_table.pairs() != table.pairs() || long_table.magnitude() != table.magnitude()) {
    fail(ErrorKind::kUnsupported,
         "{}: the tables for long texts turn {} pairs with magnitude {}, expected {} and {} as those for short ones",
         origin, long_table.pairs(), long_table.magnitude(), table.pairs(), table.magnitude());
  }
  parameters["long_frequencies"] = recover_frequencies(long_table);
  parameters["original_max_position_embeddings"] = rope.original_positions;
  return parameters;
}

}  // namespace salient::checkpoint
