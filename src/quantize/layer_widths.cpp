#include "quantize/layer_widths.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "kernels/kernels.h"
#include "quantize/state_pass.h"

namespace salient::quantize {

namespace {

/// Tokens whose logits are held at a time.
constexpr int64_t kTokenBlock = 64;

float log_sum_exp(const float* logits, int64_t size) {
  const kernels::KernelSet& kernels = kernels::active_kernels();
  const float highest = kernels.maximum(logits, size);
  return highest + std::log(kernels.sum_exp(logits, size, highest));
}

/// Measures how far models with quantized layers are from the unquantized one.
class DivergenceMeter {
 public:
  DivergenceMeter(std::shared_ptr<const model::Decoder> decoder, const WidthSource& source,
                  std::span<const std::vector<int32_t>> texts, const core::ProgressCallback& progress,
                  std::stop_token stop, core::ThreadPool& pool)
      : source_(source), progress_(progress), pass_(std::move(decoder), texts, std::move(stop), pool), pool_(pool) {}

  /// KL with each layer alone in 4 bits. One pass: each layer is opened once, for the states of all variants.
  std::vector<double> measure_layers() {
    const int64_t layers = pass_.runner().spec().layers;
    States states = pass_.embed();
    std::vector<States> variants;
    for (int64_t i = 0; i < layers; ++i) {
      const auto layer = pass_.runner().layer(i);
      for (States& variant : variants) pass_.run(*layer, variant);
      variants.push_back(states);
      pass_.run(source_.open(i, 4)->layer(i), i, variants.back());
      pass_.run(*layer, states);
      if (progress_) progress_({"measuring layers", i + 1, layers, "layers", {}});
    }
    unquantized_ = std::move(states);
    std::vector<double> divergences;
    for (const States& variant : variants) divergences.push_back(divergence_of(variant));
    return divergences;
  }

  /// KL of the model with these widths. Call measure_layers before.
  double measure(const std::vector<int>& bits) {
    States states = pass_.embed();
    for (int64_t i = 0; i < std::ssize(bits); ++i) pass_.run(source_.open(i, bits[i])->layer(i), i, states);
    return divergence_of(states);
  }

 private:
  /// Mean KL of the predictions behind `states` from those of the unquantized model.
  double divergence_of(const States& states) {
    const int64_t vocab = pass_.runner().spec().vocab_size;
    const int64_t hidden = pass_.runner().spec().hidden_size;
    std::vector<float> expected(static_cast<size_t>(kTokenBlock * vocab));
    std::vector<float> found(expected.size());
    double sum = 0;
    int64_t total = 0;
    for (size_t text = 0; text < states.size(); ++text) {
      const int64_t tokens = std::ssize(states[text]) / hidden;
      for (int64_t first = 0; first < tokens; first += kTokenBlock) {
        const int64_t count = std::min(kTokenBlock, tokens - first);
        pass_.runner().head(&unquantized_[text][first * hidden], count, expected.data());
        pass_.runner().head(&states[text][first * hidden], count, found.data());
        std::vector<double> divergences(static_cast<size_t>(count));
        pool_.each(count, [&](int64_t i) {
          const float* p = &expected[i * vocab];
          const float* q = &found[i * vocab];
          divergences[i] =
              kernels::active_kernels().divergence(p, log_sum_exp(p, vocab), q, log_sum_exp(q, vocab), vocab);
        });
        sum = std::accumulate(divergences.begin(), divergences.end(), sum);
      }
      total += tokens;
    }
    return sum / static_cast<double>(total);
  }

  const WidthSource& source_;
  const core::ProgressCallback& progress_;
  StatePass pass_;
  core::ThreadPool& pool_;
  States unquantized_;  ///< behind the last layer
};

/// The layers, those first that gain the most for each byte.
std::vector<int64_t> order_of(const std::vector<double>& sensitivities, const std::vector<uint64_t>& extra_bytes) {
  std::vector<int64_t> order(sensitivities.size());
  std::iota(order.begin(), order.end(), 0);
  const auto gain = [&](int64_t layer) { return sensitivities[layer] / static_cast<double>(extra_bytes[layer]); };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return gain(a) > gain(b); });
  return order;
}

std::vector<int> widen_first(const std::vector<int64_t>& order, int64_t count) {
  std::vector<int> bits(order.size(), 4);
  for (int64_t i = 0; i < count; ++i) bits[order[i]] = 8;
  return bits;
}

std::vector<int> widen_to_size(const std::vector<int64_t>& order, const WidthSource& source, uint64_t target) {
  if (source.int4_bytes > target) {
    core::fail(core::ErrorKind::kInvalidInput, "a size of {} is out of reach: with all layers in int4 it is {}",
               core::format_bytes(target), core::format_bytes(source.int4_bytes));
  }
  std::vector<int> bits(order.size(), 4);
  uint64_t bytes = source.int4_bytes;
  for (const int64_t layer : order) {
    if (bytes + source.extra_bytes[layer] > target) continue;
    bytes += source.extra_bytes[layer];
    bits[layer] = 8;
  }
  return bits;
}

/// The fewest of the order that keep to the divergence.
std::vector<int> widen_to_divergence(const std::vector<int64_t>& order, double target, DivergenceMeter& meter) {
  if (meter.measure(widen_first(order, 0)) <= target) return widen_first(order, 0);
  const double least = meter.measure(widen_first(order, std::ssize(order)));
  if (!(least <= target)) {
    core::fail(core::ErrorKind::kInvalidInput,
               "a KL divergence of {:.5f} is out of reach: with all layers in int8 it is {:.5f}", target, least);
  }
  int64_t too_few = 0;
  int64_t enough = std::ssize(order);
  while (enough - too_few > 1) {
    const int64_t middle = (too_few + enough) / 2;
    (meter.measure(widen_first(order, middle)) <= target ? enough : too_few) = middle;
  }
  return widen_first(order, enough);
}

}  // namespace

LayerWidths choose_widths(std::shared_ptr<const model::Decoder> decoder, const WidthSource& source,
                          const WidthTarget& target, std::span<const std::vector<int32_t>> texts,
                          const core::ProgressCallback& progress, std::stop_token stop, core::ThreadPool& pool) {
  DivergenceMeter meter(std::move(decoder), source, texts, progress, std::move(stop), pool);
  LayerWidths widths;
  widths.sensitivities = meter.measure_layers();
  const std::vector<int64_t> order = order_of(widths.sensitivities, source.extra_bytes);
  widths.bits = target.bytes != 0 ? widen_to_size(order, source, target.bytes)
                                  : widen_to_divergence(order, target.divergence, meter);
  widths.divergence = meter.measure(widths.bits);
  return widths;
}

}  // namespace salient::quantize
