#include "quantize/layer_widths.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "kernels/kernels.h"
#include "kernels/log_sum_exp.h"
#include "quantize/state_pass.h"

namespace salient::quantize {

namespace {

/// Tokens whose logits are held at a time.
constexpr int64_t kTokenBlock = 64;

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
    return divergences_of(variants);
  }

  /// KL of the model with these widths. Call measure_layers before.
  double measure(const std::vector<int>& bits) {
    States states = pass_.embed();
    for (int64_t i = 0; i < std::ssize(bits); ++i) pass_.run(source_.open(i, bits[i])->layer(i), i, states);
    return divergences_of(std::span(&states, 1)).front();
  }

 private:
  /// Mean KL of the predictions behind each variant's states from those of the unquantized model.
  std::vector<double> divergences_of(std::span<const States> variants) {
    const int64_t vocab = pass_.runner().spec().vocab_size;
    const int64_t hidden = pass_.runner().spec().hidden_size;
    std::vector<float> expected(static_cast<size_t>(kTokenBlock * vocab));
    std::vector<float> found(expected.size());
    std::vector<double> sums(variants.size());
    int64_t total = 0;
    for (size_t batch = 0; batch < unquantized_.size(); ++batch) {
      const int64_t tokens = std::ssize(unquantized_[batch]) / hidden;
      for (int64_t first = 0; first < tokens; first += kTokenBlock) {
        const int64_t count = std::min(kTokenBlock, tokens - first);
        pass_.runner().head(&unquantized_[batch][first * hidden], count, expected.data());
        for (size_t i = 0; i < variants.size(); ++i) {
          pass_.runner().head(&variants[i][batch][first * hidden], count, found.data());
          sums[i] += sum_of_divergences(expected, found, count, vocab);
        }
      }
      total += tokens;
    }
    for (double& sum : sums) sum /= static_cast<double>(total);
    return sums;
  }

  double sum_of_divergences(const std::vector<float>& expected, const std::vector<float>& found, int64_t count,
                            int64_t vocab) {
    std::vector<double> divergences(static_cast<size_t>(count));
    pool_.each(count, [&](int64_t i) {
      const float* p = &expected[i * vocab];
      const float* q = &found[i * vocab];
      divergences[i] = kernels::active_kernels().divergence(p, kernels::log_sum_exp(p, vocab), q,
                                                            kernels::log_sum_exp(q, vocab), vocab);
    });
    return std::accumulate(divergences.begin(), divergences.end(), 0.0);
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
  check_size(target, source.int4_bytes);
  std::vector<int> bits(order.size(), 4);
  uint64_t bytes = source.int4_bytes;
  for (const int64_t layer : order) {
    if (bytes + source.extra_bytes[layer] > target) continue;
    bytes += source.extra_bytes[layer];
    bits[layer] = 8;
  }
  return bits;
}

struct Choice {
  std::vector<int> bits;
  double divergence;
};

/// The fewest of the order that keep to the divergence.
Choice widen_to_divergence(const std::vector<int64_t>& order, double target, DivergenceMeter& meter) {
  const auto try_first = [&](int64_t count) {
    std::vector<int> bits = widen_first(order, count);
    const double divergence = meter.measure(bits);
    return Choice{std::move(bits), divergence};
  };
  if (Choice none = try_first(0); none.divergence <= target) return none;
  int64_t too_few = 0;
  int64_t enough = std::ssize(order);
  Choice best = try_first(enough);
  if (!(best.divergence <= target)) {
    core::fail(core::ErrorKind::kInvalidInput,
               "a KL divergence of {:.5f} is out of reach: with all layers in int8 it is {:.5f}", target,
               best.divergence);
  }
  while (enough - too_few > 1) {
    const int64_t middle = (too_few + enough) / 2;
    Choice choice = try_first(middle);
    if (choice.divergence <= target) {
      enough = middle;
      best = std::move(choice);
    } else {
      too_few = middle;
    }
  }
  return best;
}

}  // namespace

void check_size(uint64_t target, uint64_t int4_bytes) {
  if (target >= int4_bytes) return;
  core::fail(core::ErrorKind::kInvalidInput, "a size of {} is out of reach: with all layers in int4 it is {}",
             core::format_bytes(target), core::format_bytes(int4_bytes));
}

LayerWidths choose_widths(std::shared_ptr<const model::Decoder> decoder, const WidthSource& source,
                          const WidthTarget& target, std::span<const std::vector<int32_t>> texts,
                          const core::ProgressCallback& progress, std::stop_token stop, core::ThreadPool& pool) {
  DivergenceMeter meter(std::move(decoder), source, texts, progress, std::move(stop), pool);
  std::vector<double> sensitivities = meter.measure_layers();
  const std::vector<int64_t> order = order_of(sensitivities, source.extra_bytes);
  if (target.bytes == 0) {
    Choice choice = widen_to_divergence(order, target.divergence, meter);
    return {std::move(choice.bits), std::move(sensitivities), choice.divergence};
  }
  std::vector<int> bits = widen_to_size(order, source, target.bytes);
  const double divergence = meter.measure(bits);
  return {std::move(bits), std::move(sensitivities), divergence};
}

}  // namespace salient::quantize
