#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "checkpoint/rope_words.h"
#include "core/error.h"
#include "core/math.h"

namespace salient::model {

namespace {

int64_t rotary_dim_of(const RopeContext& context) {
  return static_cast<int64_t>(static_cast<double>(context.head_dim) * context.rotary_factor);
}

/// The reciprocals of the plain frequencies.
std::vector<float> make_wavelengths(const RopeContext& context) {
  const int64_t rotary_dim = rotary_dim_of(context);
  std::vector<float> wavelengths;
  for (int64_t i = 0; i < rotary_dim / 2; ++i) {
    wavelengths.push_back(checkpoint::rope_wavelength(context.theta, i, rotary_dim));
  }
  return wavelengths;
}

std::vector<float> divide_all(double factor, const std::vector<float>& wavelengths) {
  std::vector<float> frequencies;
  for (const float wavelength : wavelengths) frequencies.push_back(static_cast<float>(factor) / wavelength);
  return frequencies;
}

/// Long wavelengths are stretched, short ones stay, those between are mixed.
std::vector<float> make_llama3_frequencies(const ConfigReader& parameters, const RopeContext& context) {
  const double factor = parameters.positive("factor");
  const double low = parameters.positive("low_freq_factor");
  const double high = parameters.positive("high_freq_factor");
  const auto original = static_cast<double>(parameters.size("original_max_position_embeddings"));
  if (high <= low) parameters.refuse("high_freq_factor", "more than low_freq_factor");
  std::vector<float> frequencies = divide_all(1, make_wavelengths(context));
  for (float& frequency : frequencies) {
    const double turns = original * frequency / (2 * std::numbers::pi);  // of a whole original context
    const double share = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    frequency = static_cast<float>((1 - share) * frequency / factor + share * frequency);
  }
  return frequencies;
}

/// The pair that makes this many turns in the original context, as a real number.
double pair_of_turns(double turns, const RopeContext& context, double original) {
  return static_cast<double>(rotary_dim_of(context)) * core::log(original / (turns * 2 * std::numbers::pi)) /
         (2 * core::log(context.theta));
}

void apply_yarn(const ConfigReader& parameters, const RopeContext& context, Rope& rope) {
  const double factor = parameters.positive("factor");
  const auto original = static_cast<double>(
      parameters.size_or("original_max_position_embeddings",
                         context.original_positions > 0 ? context.original_positions : context.max_positions));
  double first = pair_of_turns(parameters.positive_or("beta_fast", 32), context, original);
  double last = pair_of_turns(parameters.positive_or("beta_slow", 1), context, original);
  if (parameters.flag_or("truncate", true)) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(rope.rotary_dim - 1));
  if (first == last) last += 0.001;
  for (size_t i = 0; i < rope.frequencies.size(); ++i) {
    const double stretched = std::clamp((static_cast<double>(i) - first) / (last - first), 0.0, 1.0);
    const double plain = rope.frequencies[i];
    rope.frequencies[i] = static_cast<float>(plain / factor * stretched + plain * (1 - stretched));
  }
  const auto magnitude = [&](double strength) { return factor <= 1 ? 1.0 : 0.1 * strength * core::log(factor) + 1.0; };
  double result = magnitude(1);
  if (parameters.has("mscale") && parameters.has("mscale_all_dim")) {
    result = magnitude(parameters.positive("mscale")) / magnitude(parameters.positive("mscale_all_dim"));
  }
  rope.magnitude = static_cast<float>(parameters.positive_or("attention_factor", result));
}

void apply_longrope(const ConfigReader& parameters, const RopeContext& context, Rope& rope) {
  const std::vector<float> wavelengths = make_wavelengths(context);
  const auto stretched = [&](const char* field) {
    const std::vector<double> factors = parameters.numbers(field, std::ssize(wavelengths));
    std::vector<float> frequencies;
    for (size_t i = 0; i < factors.size(); ++i) {
      frequencies.push_back(1.0f / (static_cast<float>(factors[i]) * wavelengths[i]));
    }
    return frequencies;
  };
  rope.frequencies = stretched("short_factor");
  rope.long_frequencies = stretched("long_factor");
  rope.original_positions =
      context.original_positions > 0 ? context.original_positions : parameters.size("original_max_position_embeddings");
  parameters.has("original_max_position_embeddings");  // the same number again
  const auto original = static_cast<double>(rope.original_positions);
  const double factor = parameters.positive_or("factor", static_cast<double>(context.max_positions) / original);
  rope.magnitude = static_cast<float>(
      parameters.positive_or("attention_factor", checkpoint::longrope_attention_factor(factor, original)));
}

/// Frequencies that are listed one by one: what a format has that stores tables of cosines and sines.
Rope read_frequencies(const ConfigReader& parameters, const RopeContext& context) {
  const auto pairs = static_cast<int64_t>(parameters.value("frequencies").size());
  if (pairs < 1 || 2 * pairs > context.head_dim) {
    parameters.refuse("frequencies", fmt::format("a list of up to {} numbers", context.head_dim / 2));
  }
  const auto list = [&](const char* field) {
    const std::vector<double> numbers = parameters.numbers(field, pairs);
    return std::vector<float>(numbers.begin(), numbers.end());
  };
  Rope rope;
  rope.rotary_dim = 2 * pairs;
  rope.frequencies = list("frequencies");
  rope.magnitude = static_cast<float>(parameters.positive_or("magnitude", 1));
  if (parameters.has("long_frequencies")) {
    rope.long_frequencies = list("long_frequencies");
    rope.original_positions = parameters.size("original_max_position_embeddings");
  }
  return rope;
}

}  // namespace

Rope make_rope(const RopeContext& context) {
  Rope rope;
  rope.rotary_dim = rotary_dim_of(context);
  if (rope.rotary_dim < 2 || rope.rotary_dim % 2 != 0) {
    core::fail(core::ErrorKind::kUnsupported, "{} of a head's {} dimensions turn, expected an even number above 0",
               rope.rotary_dim, context.head_dim);
  }
  rope.theta = context.theta;
  rope.frequencies = divide_all(1, make_wavelengths(context));
  return rope;
}

Rope read_rope(const ConfigReader& parameters, const RopeContext& given) {
  RopeContext context = given;
  context.theta = parameters.positive_or("rope_theta", context.theta);
  context.rotary_factor = parameters.positive_or("partial_rotary_factor", context.rotary_factor);
  Rope rope = make_rope(context);
  const bool old_name = parameters.has("type") && !parameters.has("rope_type");
  const char* field = old_name ? "type" : "rope_type";
  const std::string type = parameters.text_or(field, "default");
  if (type == "linear") {
    rope.frequencies = divide_all(1 / parameters.positive("factor"), make_wavelengths(context));
  } else if (type == "llama3") {
    rope.frequencies = make_llama3_frequencies(parameters, context);
  } else if (type == "yarn") {
    apply_yarn(parameters, context, rope);
  } else if (type == "longrope" || type == "su") {
    apply_longrope(parameters, context, rope);
  } else if (type == "frequencies") {
    rope = read_frequencies(parameters, context);
  } else if (type != "default") {
    parameters.refuse(field, "default, linear, llama3, yarn, longrope or frequencies");
  }
  parameters.refuse_what_was_not_asked_for();
  return rope;
}

}  // namespace salient::model
