#include "checkpoint/onnx_rope.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "checkpoint/rope_words.h"
#include "core/error.h"
#include "core/math.h"

namespace salient::checkpoint {

using core::DType;
using core::ErrorKind;
using core::fail;
using nlohmann::json;

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

/// The first checked row that the frequency does not make, but for rounding: of the table to half floats, and of the
/// angle to floats in whatever order it was computed; -1 where it makes all.
int64_t row_against(const Table& table, int64_t pair, float frequency) {
  const int64_t step = std::max<int64_t>(1, table.rows() / kCheckedRows);
  for (int64_t row = 0; row < table.rows(); row += step) {
    const double angle = static_cast<double>(row) * frequency;
    const double tolerance = 2e-3 + angle * 0x1p-21;
    if (!(std::fabs(core::cos(angle) - table.cosine(row, pair)) <= tolerance) ||
        !(std::fabs(core::sin(angle) - table.sine(row, pair)) <= tolerance)) {
      return row;
    }
  }
  return -1;
}

std::vector<float> recover_frequencies(const Table& table) {
  std::vector<float> frequencies;
  for (int64_t pair = 0; pair < table.pairs(); ++pair) {
    frequencies.push_back(recover_frequency(table, pair));
    if (const int64_t row = row_against(table, pair, frequencies.back()); row >= 0) table.refuse(row, pair);
  }
  return frequencies;
}

/// What the plain frequencies of a theta are divided by: where there is a number that gives the very frequency when
/// transformers divides by it, that one.
std::vector<float> divisors_of(const std::vector<float>& frequencies, double theta) {
  std::vector<float> divisors;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float wavelength = rope_wavelength(theta, static_cast<int64_t>(i), 2 * std::ssize(frequencies));
    const float nearest = 1.0f / (frequencies[i] * wavelength);
    divisors.push_back(nearest);
    float below = nearest;
    float above = nearest;
    for (int step = 0; step < 4 && 1.0f / (divisors.back() * wavelength) != frequencies[i]; ++step) {
      below = std::nextafter(below, 0.0f);
      above = std::nextafter(above, 2 * nearest);
      for (const float candidate : {below, above}) {
        if (1.0f / (candidate * wavelength) == frequencies[i]) divisors.back() = candidate;
      }
    }
  }
  return divisors;
}

/// rope_theta and rope_scaling of one table; null where transformers has no words for it.
json describe_one_table(const Table& table, const std::vector<float>& frequencies) {
  const auto theta = table.magnitude() == 1 ? find_rope_theta(frequencies) : std::nullopt;
  if (!theta) return nullptr;
  bool plain = true;
  for (int64_t i = 0; i < table.pairs() && plain; ++i) {
    plain = row_against(table, i, 1 / rope_wavelength(*theta, i, 2 * table.pairs())) < 0;
  }
  if (plain) return {{"rope_theta", *theta}, {"rope_scaling", nullptr}};
  const auto llama3 = find_llama3_parameters(divisors_of(frequencies, *theta), *theta);
  if (!llama3) return nullptr;
  return {{"rope_theta", *theta}, {"rope_scaling", *llama3}};
}

/// Longrope: factors for short and for long texts. "type" and no other fields inside are what Phi-3's check asks for.
json describe_two_tables(const OnnxRope& rope, float magnitude, const std::vector<float>& frequencies,
                         const std::vector<float>& long_frequencies, const json& config) {
  constexpr double kTheta = 10000;
  json scaling = {{"type", "longrope"},
                  {"short_factor", divisors_of(frequencies, kTheta)},
                  {"long_factor", divisors_of(long_frequencies, kTheta)}};
  const double usual = longrope_attention_factor(
      config["max_position_embeddings"].get<double>() / static_cast<double>(rope.original_positions),
      static_cast<double>(rope.original_positions));
  if (std::fabs(magnitude - usual) > 1e-5) scaling["attention_factor"] = magnitude;
  return {
      {"rope_theta", kTheta}, {"rope_scaling", scaling}, {"original_max_position_embeddings", rope.original_positions}};
}

}  // namespace

json recover_rope(const OnnxRope& rope, const json& config, const std::string& origin) {
  const Table table(rope.table, origin);
  const std::vector<float> frequencies = recover_frequencies(table);
  json fields;
  if (rope.original_positions == 0) {
    fields = describe_one_table(table, frequencies);
    if (fields.is_null()) {
      fields = {{"rope_parameters",
                 {{"rope_type", "frequencies"}, {"frequencies", frequencies}, {"magnitude", table.magnitude()}}}};
    }
  } else {
    const Table long_table(rope.long_table, origin);
    if (long_table.pairs() != table.pairs() || long_table.magnitude() != table.magnitude()) {
      fail(ErrorKind::kUnsupported,
           "{}: the tables for long texts turn {} pairs with magnitude {}, expected {} and {} as those for short ones",
           origin, long_table.pairs(), long_table.magnitude(), table.pairs(), table.magnitude());
    }
    fields = describe_two_tables(rope, table.magnitude(), frequencies, recover_frequencies(long_table), config);
  }
  const auto head_dim = config["head_dim"].get<int64_t>();
  if (2 * table.pairs() != head_dim) {
    fields["partial_rotary_factor"] = partial_rotary_factor(2 * table.pairs(), head_dim);
  }
  return fields;
}

}  // namespace salient::checkpoint
