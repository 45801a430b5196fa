#include "checkpoint/rope_words.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/math.h"

namespace salient::checkpoint {

using nlohmann::json;

namespace {

/// The number with the fewest digits whose logarithm is within 1e-5 of that of `estimate`.
double roundest_near(double estimate) {
  constexpr double kTolerance = 1e-5;
  double power = 1;
  while (power * 10 <= estimate) power *= 10;
  for (int digits = 0; digits < 6; ++digits, power /= 10) {
    const double rounded = std::nearbyint(estimate / power) * power;
    if (rounded > 0 && std::abs(core::log(rounded / estimate)) < kTolerance) return rounded;
  }
  return estimate;
}

/// The divisor of a pair's frequency in Llama 3, whose wavelengths beyond a share of the original context are
/// stretched.
double llama3_factor(double frequency, double factor, double low, double high, double original) {
  const double turns = original * frequency / (2 * std::numbers::pi);
  const double share = std::clamp((turns - low) / (high - low), 0.0, 1.0);
  return 1 / ((1 - share) / factor + share);
}

}  // namespace

std::optional<double> find_rope_theta(const std::vector<float>& frequencies) {
  // Slow pairs may be stretched, and a table shows their frequencies least precisely.
  constexpr float kSlowest = 0.01f;
  const auto pairs = std::ssize(frequencies);
  double weighted = 0;
  double weights = 0;
  for (int64_t i = 1; i < pairs && frequencies[i] > kSlowest; ++i) {
    const double exponent = static_cast<double>(i) / static_cast<double>(pairs);
    const double weight = double{frequencies[i]} * frequencies[i];
    weighted -= weight * exponent * core::log(frequencies[i]);
    weights += weight * exponent * exponent;
  }
  if (weights == 0) return std::nullopt;
  const double theta = roundest_near(core::exp(weighted / weights));
  for (int64_t i = 0; i < pairs && frequencies[i] > kSlowest; ++i) {
    const double plain = 1 / core::power(theta, static_cast<double>(i) / static_cast<double>(pairs));
    if (!(std::abs(frequencies[i] - plain) < 1e-4 * plain)) return std::nullopt;
  }
  return theta;
}

std::optional<json> find_llama3_parameters(const std::vector<float>& factors, double theta) {
  constexpr double kLow = 1;
  constexpr double kHigh = 4;
  constexpr double kTolerance = 1e-4;
  if (!(theta > 0)) return std::nullopt;
  double factor = *std::max_element(factors.begin(), factors.end());
  if (std::abs(factor - std::nearbyint(factor)) < kTolerance * factor) factor = std::nearbyint(factor);
  const auto pairs = std::ssize(factors);
  // Few pairs may lie in the band that tells contexts apart: the most common one comes first.
  std::vector<int64_t> contexts = {8192};
  for (int64_t context = 32; context <= int64_t{1} << 20; context *= 2) contexts.push_back(context);
  for (const int64_t original : contexts) {
    bool equal = true;
    for (int64_t i = 0; i < pairs && equal; ++i) {
      const double frequency = 1 / core::power(theta, static_cast<double>(i) / static_cast<double>(pairs));
      const double wanted = llama3_factor(frequency, factor, kLow, kHigh, static_cast<double>(original));
      equal = std::abs(factors[i] - wanted) <= kTolerance * wanted;
    }
    if (!equal) continue;
    return json{{"rope_type", "llama3"},
                {"factor", factor},
                {"low_freq_factor", kLow},
                {"high_freq_factor", kHigh},
                {"original_max_position_embeddings", original}};
  }
  return std::nullopt;
}

double partial_rotary_factor(int64_t dimensions, int64_t head_dim) {
  const double factor = static_cast<double>(dimensions) / static_cast<double>(head_dim);
  const bool falls_short = static_cast<int64_t>(factor * static_cast<double>(head_dim)) < dimensions;
  return falls_short ? std::nextafter(factor, 1.0) : factor;
}

double longrope_attention_factor(double factor, double original) {
  return factor <= 1 ? 1.0 : std::sqrt(1 + core::log(factor) / core::log(original));
}

float rope_wavelength(double theta, int64_t pair, int64_t rotary_dim) {
  const auto exponent = static_cast<float>(2 * pair) / static_cast<float>(rotary_dim);
  return static_cast<float>(core::power(theta, exponent));
}

}  // namespace salient::checkpoint
