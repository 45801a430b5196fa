#include "quantize/estimate.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "quantize/matrix.h"
#include "quantize/scale_search.h"
#include "quantize/tiles.h"

namespace salient::quantize {

namespace {

/// Linears that read the same inputs.
struct Place {
  double width;
  double rows;
};

std::array<Place, 4> places_of(const model::DecoderSpec& spec) {
  const auto hidden = static_cast<double>(spec.hidden_size);
  const auto query = static_cast<double>(spec.query_size());
  const auto inner = static_cast<double>(spec.intermediate_size);
  const auto key_value = static_cast<double>(spec.kv_heads * spec.head_dim);
  return {
      {{hidden, query + 2 * key_value}, {query, hidden}, {hidden, (spec.gated_mlp ? 2 : 1) * inner}, {inner, hidden}}};
}

/// All that is tried on the linears of a place, in every layer.
void add_search(const Place& place, int group_size, const Steps& steps, double layers, ByStage& flop) {
  constexpr double kGridCandidates = 41;  // grid_search.cpp: 25 + 8 + 2 * 2 + 2 * 2
  const double product = layers * 2 * place.rows * place.width * place.width;
  const auto add = [&](Stage stage, double count) { flop[static_cast<size_t>(stage)] += count; };
  const double form = product / 2;  // of which symmetry leaves half
  add(Stage::kErrors, form);        // of plain rounding
  if (steps.scale) add(Stage::kScales, form * candidates_of_search(place.rows, place.width));
  if (steps.search_grids || steps.correction > 0) add(Stage::kErrors, form);
  if (steps.search_grids) add(Stage::kGrids, layers * kGridCandidates * 2 * place.rows * place.width * group_size);
  if (steps.compensate || steps.correction > 0) {
    add(Stage::kCompensation, layers * place.width * place.width * place.width / 3);
  }
  if (steps.compensate) {
    add(Stage::kCompensation, product / 2);
    add(Stage::kErrors, form * (steps.sweeps > 0 ? 2 : 1));
    add(Stage::kDescent, product * steps.sweeps);
  }
  if (steps.correction > 0) add(Stage::kCorrection, 2 * product);
}

}  // namespace

Estimate estimate(const model::DecoderSpec& spec, int group_size, const Steps& steps, int64_t sequences,
                  int64_t tokens) {
  constexpr double kFp32 = 4;
  constexpr double kFp16 = 2;
  const bool corrected = steps.correction > 0;
  Estimate result;
  const auto layers = static_cast<double>(spec.layers);
  const auto hidden = static_cast<double>(spec.hidden_size);
  const double text = static_cast<double>(sequences) * static_cast<double>(tokens);
  double parameters = 0;
  double squares = 0;
  double largest_place = 0;
  for (const Place& place : places_of(spec)) {
    parameters += place.rows * place.width;
    squares += place.width * place.width;
    largest_place = std::max(largest_place, 2 * place.width * place.width + 3 * place.rows * place.width);
    if (steps.need_calibration()) add_search(place, group_size, steps, layers, result.flop);
  }
  const double outer = static_cast<double>(spec.vocab_size) * hidden * (spec.tied_embeddings ? 1 : 2) + hidden;
  // Codes and zero points of half a byte, fp16 scales, two norms.
  const double layer = parameters * (0.5 + (0.5 + kFp16) / group_size) + 2 * hidden * kFp16;
  result.bytes = static_cast<uint64_t>(layers * layer + outer * kFp16);
  double memory = 2 * parameters * kFp32 + largest_place * kFp32;
  if (steps.need_calibration()) {
    const double attention = 2 * static_cast<double>(tokens) * static_cast<double>(spec.query_size());
    // Corrected: the unquantized layer on both texts, and the quantized one, which nothing follows in the last layer.
    const double passes = corrected ? 3 * layers - 1 : layers;
    result.flop[static_cast<size_t>(Stage::kCalibration)] = passes * text * (2 * parameters + attention);
    result.flop[static_cast<size_t>(Stage::kGram)] = layers * text * squares * (corrected ? 3 : 1);
    memory += (corrected ? 2 : 1) * (text * hidden + 2 * squares) * kFp32;
  }
  result.memory = static_cast<uint64_t>(memory);
  return result;
}

double measure_rate(core::ThreadPool& pool) {
  constexpr int64_t kSize = 512;
  constexpr int64_t kRows = 96;
  constexpr int64_t kItems = 64;
  constexpr double kSeconds = 0.3;
  const Matrix weights(kSize, kSize);
  Tiles tiles(kSize, kSize);
  tiles.pack(weights.row(0), kSize, 1, kSize, kSize);
  const auto start = std::chrono::steady_clock::now();
  double flop = 0;
  double seconds = 0;
  while (seconds < kSeconds) {
    pool.each(kItems, [&](int64_t) {
      const Matrix x(kRows, kSize);
      Matrix y(kRows, kSize);
      tiles.multiply(0, kSize, x.row(0), kSize, kRows, false, y.row(0), kSize);
    });
    flop += 2.0 * kSize * kSize * kRows * kItems;
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  return flop / seconds;
}

}  // namespace salient::quantize
