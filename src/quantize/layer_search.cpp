#include "quantize/layer_search.h"

#include <optional>

#include "quantize/clip_search.h"
#include "quantize/rounding.h"
#include "quantize/scale_search.h"

namespace salient::quantize {

using runner::LinearInput;

LayerStatistics::LayerStatistics(const model::DecoderSpec& spec, core::ThreadPool& pool) {
  for (const int64_t width : {spec.hidden_size, spec.query_size(), spec.hidden_size, spec.intermediate_size}) {
    places_.emplace_back(width, pool);
  }
}

void LayerStatistics::observe(LinearInput place, const float* x, int64_t tokens) {
  places_[static_cast<size_t>(place)].add(x, tokens);
}

namespace {

/// The places' Gram matrices, divided by the scales once these are applied.
struct Grams {
  Matrix attention;
  Matrix output;
  Matrix mlp;
  Matrix down;
};

ScaleChoice search(const char* part, const ScaleGroup& group, int group_size, core::ThreadPool& pool,
                   std::vector<SearchReport>& report) {
  ScaleChoice choice = search_scales(group, group_size, pool);
  report.push_back({part, choice.candidate, choice.identity_loss, choice.loss});
  return choice;
}

std::vector<const Matrix*> weights_of(const std::vector<DenseLinear*>& linears) {
  std::vector<const Matrix*> weights;
  for (const DenseLinear* linear : linears) weights.push_back(&linear->weights);
  return weights;
}

/// Searches all scales on the layer as it was, then applies them.
void scale_layer(DenseLayer& layer, const LayerStatistics& statistics, const model::DecoderSpec& spec, int group_size,
                 Grams& grams, core::ThreadPool& pool, std::vector<SearchReport>& report) {
  const auto magnitudes = [&](LinearInput place) { return statistics.at(place).mean_magnitudes(); };
  const auto attention_x = magnitudes(LinearInput::kAttention);
  const auto output_x = magnitudes(LinearInput::kOutput);
  const auto mlp_x = magnitudes(LinearInput::kMlp);
  const auto down_x = magnitudes(LinearInput::kDown);
  const int64_t heads_a_value = spec.heads / spec.kv_heads;
  const float norm_offset = spec.norm == model::NormKind::kRmsPlusOne ? 1.0f : 0.0f;

  // A parallel MLP reads attention's input, so its scales are the same.
  std::vector<DenseLinear*> attention_readers = {&layer.query, &layer.key, &layer.value};
  std::vector<DenseLinear*> mlp_readers = {&layer.up};
  if (spec.gated_mlp) mlp_readers.push_back(&layer.gate);
  if (spec.parallel_mlp) {
    attention_readers.insert(attention_readers.end(), mlp_readers.begin(), mlp_readers.end());
    mlp_readers.clear();
  }
  auto attention =
      search("attention input",
             {.weights = weights_of(attention_readers), .gram = &grams.attention, .mean_magnitudes = attention_x},
             group_size, pool, report);
  const auto output = search("attention output",
                             {.weights = {&layer.output.weights},
                              .gram = &grams.output,
                              .mean_magnitudes = output_x,
                              .tied_heads = heads_a_value,
                              .head_dim = spec.head_dim},
                             group_size, pool, report);
  std::optional<ScaleChoice> mlp;
  if (!mlp_readers.empty()) {
    mlp = search("mlp input", {.weights = weights_of(mlp_readers), .gram = &grams.mlp, .mean_magnitudes = mlp_x},
                 group_size, pool, report);
  }
  // activation(gate) * up is linear in up; without a gate nothing before `down` is linear.
  std::optional<ScaleChoice> down;
  if (spec.gated_mlp) {
    down = search("mlp output", {.weights = {&layer.down.weights}, .gram = &grams.down, .mean_magnitudes = down_x},
                  group_size, pool, report);
  }

  scale_behind_norm(layer.norms.attention, norm_offset, attention_readers, attention.scales);
  divide_gram(grams.attention, attention.scales);
  if (spec.parallel_mlp) grams.mlp = grams.attention;
  // Query head h reads the values of kv head h / heads_a_value.
  scale_behind_linear(layer.value, layer.output, output.scales,
                      [&](int64_t i) { return i / spec.head_dim / heads_a_value * spec.head_dim + i % spec.head_dim; });
  divide_gram(grams.output, output.scales);
  if (mlp) {
    scale_behind_norm(layer.norms.mlp, norm_offset, mlp_readers, mlp->scales);
    divide_gram(grams.mlp, mlp->scales);
  }
  if (down) {
    scale_behind_linear(layer.up, layer.down, down->scales, [](int64_t i) { return i; });
    divide_gram(grams.down, down->scales);
  }
}

}  // namespace

QuantizedLayer search_layer(DenseLayer& layer, const LayerStatistics& statistics, const model::DecoderSpec& spec,
                            int group_size, bool clip, core::ThreadPool& pool) {
  QuantizedLayer result;
  Grams grams{statistics.at(LinearInput::kAttention).gram(), statistics.at(LinearInput::kOutput).gram(),
              statistics.at(LinearInput::kMlp).gram(), statistics.at(LinearInput::kDown).gram()};
  scale_layer(layer, statistics, spec, group_size, grams, pool, result.report);
  const auto gram_of = [&](const DenseLinear* linear) -> const Matrix& {
    if (linear == &layer.output) return grams.output;
    if (linear == &layer.down) return grams.down;
    return linear == &layer.gate || linear == &layer.up ? grams.mlp : grams.attention;
  };
  for (const DenseLinear* linear : layer.linears()) {
    // As in AWQ, queries and keys are not clipped: the softmax makes their error anything but quadratic.
    const bool may_clip = clip && linear != &layer.query && linear != &layer.key;
    ClipChoice choice;
    if (may_clip) {
      choice = search_clips(linear->weights, gram_of(linear), group_size, pool);
      result.report.push_back(
          {linear->name, choice.clips.empty() ? "not clipped" : "clipped", choice.unclipped_loss, choice.loss});
    }
    result.linears.push_back(round_matrix(linear->weights, group_size, choice.clips, pool));
  }
  result.norms = layer.norms;
  return result;
}

QuantizedLayer round_layer(DenseLayer& layer, int group_size, core::ThreadPool& pool) {
  QuantizedLayer result;
  for (const DenseLinear* linear : layer.linears()) {
    result.linears.push_back(round_matrix(linear->weights, group_size, {}, pool));
  }
  result.norms = layer.norms;
  return result;
}

}  // namespace salient::quantize
