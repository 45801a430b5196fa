#include "quantize/dense_layer.h"

#include <cmath>

#include "core/dtype.h"

namespace salient::quantize {

DenseLayer::DenseLayer(const model::DecoderLayer& layer, core::ThreadPool& pool) : norms(layer.norms) {
  const auto read = [&](const core::LinearWeights& source, DenseLinear& target) {
    target.weights = Matrix(source.out_features(), source.in_features());
    target.bias = source.bias;
    pool.split(target.weights.rows,
               [&](int64_t begin, int64_t end) { source.read_rows(begin, end - begin, target.weights.row(begin)); });
  };
  read(layer.query, query);
  read(layer.key, key);
  read(layer.value, value);
  read(layer.output, output);
  read(layer.gate, gate);
  read(layer.up, up);
  read(layer.down, down);
}

std::vector<DenseLinear*> DenseLayer::linears() {
  std::vector<DenseLinear*> all = {&query, &key, &value, &output};
  if (gate.weights.rows > 0) all.push_back(&gate);
  all.push_back(&up);
  all.push_back(&down);
  return all;
}

void scale_behind_norm(model::Norm& norm, float offset, std::span<DenseLinear* const> linears,
                       std::vector<float>& scales) {
  for (size_t i = 0; i < scales.size(); ++i) {
    const float stored = core::half_to_float(core::float_to_half(norm.weight[i] / scales[i] - offset));
    const float divided = stored + offset;
    // A weight of 0 silences its input whatever the scale; one that leaves fp16's range is left alone.
    const bool usable = divided != 0 && std::isfinite(divided);
    scales[i] = usable ? norm.weight[i] / divided : 1.0f;
    if (usable) norm.weight[i] = divided;
    if (!norm.bias.empty()) norm.bias[i] /= scales[i];
  }
  for (DenseLinear* linear : linears) {
    for (int64_t row = 0; row < linear->weights.rows; ++row) {
      for (size_t i = 0; i < scales.size(); ++i) linear->weights.row(row)[i] *= scales[i];
    }
  }
}

void divide_gram(Matrix& gram, std::span<const float> scales, core::ThreadPool& pool) {
  pool.split(gram.rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < gram.columns; ++j) gram.row(i)[j] /= scales[i] * scales[j];
    }
  });
}

}  // namespace salient::quantize
