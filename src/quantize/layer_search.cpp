#include "quantize/layer_search.h"

#include <map>
#include <optional>

#include "core/group_grid.h"
#include "quantize/compensation.h"
#include "quantize/coordinate_descent.h"
#include "quantize/correction.h"
#include "quantize/grid_search.h"
#include "quantize/rounding.h"
#include "quantize/scale_search.h"

namespace salient::quantize {

using runner::LinearInput;

LayerStatistics::LayerStatistics(const model::DecoderSpec& spec, GramAccumulator::Drift drift, core::ThreadPool& pool) {
  for (const int64_t width : {spec.hidden_size, spec.query_size(), spec.hidden_size, spec.intermediate_size}) {
    places_.emplace_back(width, drift, pool);
  }
}

void LayerStatistics::observe(LinearInput place, const float* x, const float* unquantized, int64_t tokens) {
  places_[static_cast<size_t>(place)].add(x, unquantized, tokens);
}

namespace {

/// What is known of the inputs of one place; divided by the scales once these are applied.
struct Inputs {
  explicit Inputs(const GramAccumulator& statistics)
      : tokens(statistics.tokens()),
        gram(statistics.gram()),
        drift(statistics.drift()),
        magnitudes(statistics.mean_magnitudes()) {}

  void divide(std::span<const float> scales, core::ThreadPool& pool) {
    divide_gram(gram, scales, pool);
    divide_gram(drift, scales, pool);
  }

  int64_t tokens;
  Matrix gram;
  Matrix drift;
  std::vector<float> magnitudes;
};

/// The four places of a layer.
struct Places {
  explicit Places(const LayerStatistics& statistics)
      : attention(statistics.at(LinearInput::kAttention)),
        output(statistics.at(LinearInput::kOutput)),
        mlp(statistics.at(LinearInput::kMlp)),
        down(statistics.at(LinearInput::kDown)) {}

  Inputs attention;
  Inputs output;
  Inputs mlp;
  Inputs down;
};

Zero zero_of(const Steps& steps) {
  return steps.symmetric ? Zero::kMiddle : Zero::kFree;
}

ScaleChoice search(const char* part, const ScaleGroup& group, int group_size, core::ThreadPool& pool,
                   QuantizedLayer& result) {
  ScaleChoice choice = search_scales(group, group_size, pool);
  result.report.push_back({SearchReport::Kind::kScales, part, choice.candidate, choice.identity_loss, choice.loss});
  result.channels.push_back(report_channels(part, group, choice.scales, group_size, pool));
  return choice;
}

std::vector<const Matrix*> weights_of(const std::vector<DenseLinear*>& linears) {
  std::vector<const Matrix*> weights;
  for (const DenseLinear* linear : linears) weights.push_back(&linear->weights);
  return weights;
}

/// The linears that read the inputs of attention, and of the MLP. A parallel MLP reads attention's input, so its scales
/// are the same.
struct Readers {
  Readers(DenseLayer& layer, const model::DecoderSpec& spec)
      : attention{&layer.query, &layer.key, &layer.value}, mlp{&layer.up} {
    if (spec.gated_mlp) mlp.insert(mlp.begin(), &layer.gate);
    if (!spec.parallel_mlp) return;
    attention.insert(attention.end(), mlp.begin(), mlp.end());
    mlp.clear();
  }

  std::vector<DenseLinear*> attention;
  std::vector<DenseLinear*> mlp;
};

/// Searches all scales on the layer as it was, then applies them.
void scale_layer(DenseLayer& layer, const Readers& readers, const model::DecoderSpec& spec, int group_size,
                 const Steps& steps, Places& places, core::ThreadPool& pool, QuantizedLayer& result) {
  const int64_t heads_a_value = spec.heads / spec.kv_heads;
  const float norm_offset = spec.norm == model::NormKind::kRmsPlusOne ? 1.0f : 0.0f;
  const auto search_place = [&](const char* part, const std::vector<DenseLinear*>& linears, const Inputs& inputs) {
    return search(part,
                  {.weights = weights_of(linears),
                   .gram = &inputs.gram,
                   .mean_magnitudes = inputs.magnitudes,
                   .zero = zero_of(steps)},
                  group_size, pool, result);
  };
  auto attention = search_place("attention input", readers.attention, places.attention);
  std::optional<ScaleChoice> output;
  if (steps.scale_values) {
    output = search("attention output",
                    {.weights = {&layer.output.weights},
                     .gram = &places.output.gram,
                     .mean_magnitudes = places.output.magnitudes,
                     .tied_heads = heads_a_value,
                     .head_dim = spec.head_dim,
                     .zero = zero_of(steps)},
                    group_size, pool, result);
  }
  std::optional<ScaleChoice> mlp;
  if (!readers.mlp.empty()) mlp = search_place("mlp input", readers.mlp, places.mlp);
  // activation(gate) * up is linear in up; without a gate nothing before `down` is linear.
  std::optional<ScaleChoice> down;
  if (spec.gated_mlp) down = search_place("mlp output", {&layer.down}, places.down);

  scale_behind_norm(layer.norms.attention, norm_offset, readers.attention, attention.scales);
  places.attention.divide(attention.scales, pool);
  if (output) {
    // Query head h reads the values of kv head h / heads_a_value.
    scale_behind_linear(layer.value, layer.output, output->scales, [&](int64_t i) {
      return i / spec.head_dim / heads_a_value * spec.head_dim + i % spec.head_dim;
    });
    places.output.divide(output->scales, pool);
  }
  if (mlp) {
    scale_behind_norm(layer.norms.mlp, norm_offset, readers.mlp, mlp->scales);
    places.mlp.divide(mlp->scales, pool);
  }
  if (down) {
    scale_behind_linear(layer.up, layer.down, down->scales, [](int64_t i) { return i; });
    places.down.divide(down->scales, pool);
  }
}

void report_inputs(const Places& places, const Readers& readers, QuantizedLayer& result) {
  const auto report = [&](const char* part, const Inputs& inputs) {
    result.inputs.push_back({part, inputs.gram.rows, inputs.tokens, effective_rank(inputs.gram)});
  };
  report("attention input", places.attention);
  report("attention output", places.output);
  if (!readers.mlp.empty()) report("mlp input", places.mlp);
  report("mlp output", places.down);
}

void report_weights(DenseLayer& layer, int group_size, QuantizedLayer& result) {
  for (const DenseLinear* linear : layer.linears()) {
    result.weights.push_back(report_weights(linear->name, linear->weights, group_size));
  }
}

void count_codes(QuantizedLayer& result) {
  for (size_t i = 0; i < result.linears.size(); ++i) count_codes(result.linears[i], result.weights[i]);
}

/// Quantizes the linears of one place, which share its inputs.
class PlaceQuantizer {
 public:
  PlaceQuantizer(Inputs& inputs, int group_size, const Steps& steps, StageTimes& times, core::ThreadPool& pool)
      : steps_(steps),
        group_size_(group_size),
        times_(times),
        pool_(pool),
        form_(regularized(std::move(inputs.gram), steps), group_size, pool),
        drift_(std::move(inputs.drift)) {
    if (!steps.compensate && steps.correction == 0) return;
    factor_ = times.time(Stage::kCompensation, [&] { return factor_gram(form_.gram, kLeastDamping, pool); });
  }

  /// The best candidate for a linear, and what it bought.
  core::QuantizedTensor quantize(const DenseLinear& linear, std::vector<SearchReport>& report) const {
    const bool correct = steps_.correction > 0;
    const Matrix corrected =
        correct
            ? times_.time(Stage::kCorrection,
                          [&] { return correct_weights(linear.weights, drift_, *factor_, steps_.correction, pool_); })
            : Matrix();
    const Matrix& target = correct ? corrected : linear.weights;
    const std::vector<Grid> plain = plain_grids(linear.weights, group_size_, pool_, zero_of(steps_));
    Best best{round_matrix(linear.weights, group_size_, plain, pool_), "rounded", 0};
    const auto error_of = [&](const core::QuantizedTensor& tensor) {
      return times_.time(Stage::kErrors, [&] { return output_error(target, tensor, form_.whole, pool_); });
    };
    best.loss = error_of(best.tensor);
    const double before = best.loss;
    const auto try_candidate = [&](core::QuantizedTensor candidate, const char* name) {
      const double loss = error_of(candidate);
      if (loss < best.loss) best = {std::move(candidate), name, loss};
    };
    const std::vector<Grid> grids = times_.time(Stage::kGrids, [&] {
      if (steps_.search_grids) return search_grids(target, form_, group_size_, pool_, zero_of(steps_));
      return correct ? plain_grids(target, group_size_, pool_, zero_of(steps_)) : plain;
    });
    if (steps_.search_grids || correct) try_candidate(round_matrix(target, group_size_, grids, pool_), "grids");
    if (steps_.compensate) {
      core::QuantizedTensor compensated =
          times_.time(Stage::kCompensation, [&] { return compensate(target, *factor_, grids, group_size_, pool_); });
      try_candidate(compensated, "compensated");
      if (steps_.sweeps > 0) {
        times_.time(Stage::kDescent, [&] { descend(target, form_, steps_.sweeps, compensated, pool_); });
        try_candidate(std::move(compensated), "descended");
      }
    }
    report.push_back({SearchReport::Kind::kLinear, linear.name, best.name, before, best.loss});
    return std::move(best.tensor);
  }

 private:
  /// What a regularized matrix still needs where it is singular but for rounding.
  static constexpr float kLeastDamping = 1e-6f;

  static Matrix regularized(Matrix gram, const Steps& steps) {
    regularize_gram(gram, steps.shrinkage, steps.damping);
    return gram;
  }

  struct Best {
    core::QuantizedTensor tensor;
    const char* name;
    double loss;
  };

  const Steps& steps_;
  int group_size_;
  StageTimes& times_;
  core::ThreadPool& pool_;
  GroupedForm form_;
  Matrix drift_;
  std::optional<DampedFactor> factor_;
};

}  // namespace

QuantizedLayer search_layer(DenseLayer& layer, const LayerStatistics& statistics, const model::DecoderSpec& spec,
                            int group_size, const Steps& steps, StageTimes& times, core::ThreadPool& pool) {
  QuantizedLayer result;
  Places places(statistics);
  const Readers readers(layer, spec);
  report_inputs(places, readers, result);
  report_weights(layer, group_size, result);
  if (steps.scale) {
    times.time(Stage::kScales, [&] { scale_layer(layer, readers, spec, group_size, steps, places, pool, result); });
  }
  std::map<const DenseLinear*, core::QuantizedTensor> quantized;
  const auto quantize_place = [&](Inputs& inputs, const std::vector<DenseLinear*>& linears) {
    if (linears.empty()) return;
    const PlaceQuantizer quantizer(inputs, group_size, steps, times, pool);
    for (const DenseLinear* linear : linears) quantized[linear] = quantizer.quantize(*linear, result.report);
  };
  quantize_place(places.attention, readers.attention);
  quantize_place(places.output, {&layer.output});
  quantize_place(places.mlp, readers.mlp);
  quantize_place(places.down, {&layer.down});
  for (const DenseLinear* linear : layer.linears()) result.linears.push_back(std::move(quantized.at(linear)));
  result.norms = layer.norms;
  count_codes(result);
  return result;
}

QuantizedLayer round_layer(DenseLayer& layer, int group_size, const Steps& steps, core::ThreadPool& pool) {
  QuantizedLayer result;
  for (const DenseLinear* linear : layer.linears()) {
    const std::vector<Grid> grids = plain_grids(linear->weights, group_size, pool, zero_of(steps));
    result.linears.push_back(round_matrix(linear->weights, group_size, grids, pool));
  }
  result.norms = layer.norms;
  report_weights(layer, group_size, result);
  count_codes(result);
  return result;
}

QuantizedLayer round_layer_to_int8(DenseLayer& layer, int group_size, const std::string& origin,
                                   core::ThreadPool& pool) {
  QuantizedLayer result;
  result.norms = layer.norms;
  for (const DenseLinear* linear : layer.linears()) {
    const Matrix& weights = linear->weights;
    constexpr int kBits = 8;
    core::QuantizedTensor rounded =
        core::make_rounding_target(weights.rows, weights.columns, kBits, group_size, core::ZeroKind::kMiddle);
    pool.split(weights.rows, [&](int64_t begin, int64_t end) {
      const std::span rows(weights.row(begin), static_cast<size_t>((end - begin) * weights.columns));
      core::round_groups(rows, core::ZeroKind::kMiddle, origin + linear->name, begin * weights.columns, rounded);
    });
    result.linears.push_back(std::move(rounded));
  }
  return result;
}

}  // namespace salient::quantize
