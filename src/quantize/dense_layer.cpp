#include "quantize/dense_layer.h"

#include <cmath>

#include "core/dtype.h"

namespace salient::quantize {

DenseLayer::DenseLayer(const model::DecoderLayer& layer, const model::DecoderSpec& spec, core::ThreadPool& pool)
    : attention_norm(layer.attention_norm), mlp_norm(layer.mlp_norm) {
  const auto targets = linears();
  const auto slots = model::linear_slots(spec);
  for (size_t i = 0; i < slots.size(); ++i) {
    const core::LinearWeights& source = layer.*slots[i].weights;
    *targets[i] = {slots[i].name, Matrix(slots[i].out_features, slots[i].in_features), source.bias};
    Matrix& weights = targets[i]->weights;
    pool.split(weights.rows,
               [&](int64_t begin, int64_t end) { source.read_rows(begin, end - begin, weights.row(begin)); });
  }
}

void scale_behind_norm(std::vector<float>& norm, std::span<DenseLinear* const> linears, std::vector<float>& scales) {
  for (size_t i = 0; i < norm.size(); ++i) {
    const float divided = core::half_to_float(core::float_to_half(norm[i] / scales[i]));
    // A weight of 0 silences its input whatever the scale; one that leaves fp16's range is left alone.
    const bool usable = divided != 0 && std::isfinite(divided);
    scales[i] = usable ? norm[i] / divided : 1.0f;
    if (usable) norm[i] = divided;
  }
  for (DenseLinear* linear : linears) {
    for (int64_t row = 0; row < linear->weights.rows; ++row) {
      for (size_t i = 0; i < scales.size(); ++i) linear->weights.row(row)[i] *= scales[i];
    }
  }
}

void divide_gram(Matrix& gram, std::span<const float> scales) {
  for (int64_t i = 0; i < gram.rows; ++i) {
    for (int64_t j = 0; j < gram.columns; ++j) gram.row(i)[j] /= scales[i] * scales[j];
  }
}

}  // namespace salient::quantize
