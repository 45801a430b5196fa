#include "api/config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>
#include <variant>

#include "core/error.h"

namespace salient {

namespace {

using Field = std::variant<double GenerationConfig::*, int64_t GenerationConfig::*, uint64_t GenerationConfig::*,
                           bool GenerationConfig::*>;

/// Every number and switch, by its name in the struct.
const std::map<std::string, Field, std::less<>>& fields() {
  using C = GenerationConfig;
  static const std::map<std::string, Field, std::less<>> table = {
      {"temperature", &C::temperature},
      {"top_k", &C::top_k},
      {"top_p", &C::top_p},
      {"min_p", &C::min_p},
      {"repetition_penalty", &C::repetition_penalty},
      {"presence_penalty", &C::presence_penalty},
      {"frequency_penalty", &C::frequency_penalty},
      {"no_repeat_ngram_size", &C::no_repeat_ngram_size},
      {"seed", &C::seed},
      {"stream", &C::stream},
      {"max_tokens", &C::max_tokens},
      {"context", &C::context},
      {"min_length", &C::min_length},
      {"speculate", &C::speculate},
      {"top_log_probabilities", &C::top_log_probabilities},
  };
  return table;
}

const Field& find_field(std::string_view name) {
  if (const auto found = fields().find(name); found != fields().end()) return found->second;
  core::fail(core::ErrorKind::kInvalidInput, "there is no generation option \"{}\"; there are {}", name,
             fmt::join(GenerationConfig::names(), ", "));
}

/// Throws invalid_input, naming the option, where the number is no whole one of this type.
template <typename Whole>
Whole whole(std::string_view name, double value) {
  constexpr double kMost = 0x1p53;  // up to here every whole number is a double
  const double least = std::is_signed_v<Whole> ? -kMost : 0;
  if (value == std::floor(value) && value >= least && value <= kMost) return static_cast<Whole>(value);
  core::fail(core::ErrorKind::kInvalidInput, "{} is {}, expected a whole number{}", name, value,
             least == 0 ? " of 0 or more" : "");
}

}  // namespace

void GenerationConfig::check() const {
  const generate::GenerateOptions options = api::to_options(*this);
  generate::check(options.sampling);
  generate::check(options.logit_bias);
}

void GenerationConfig::set(std::string_view name, double value) {
  const auto assign = [&](auto field) {
    using Type = std::decay_t<decltype(this->*field)>;
    if constexpr (std::is_same_v<Type, bool>) {
      if (value != 0 && value != 1) core::fail(ErrorKind::kInvalidInput, "{} is {}, expected 0 or 1", name, value);
      this->*field = value == 1;
    } else if constexpr (std::is_same_v<Type, double>) {
      this->*field = value;
    } else {
      this->*field = whole<Type>(name, value);
    }
  };
  std::visit(assign, find_field(name));
}

double GenerationConfig::get(std::string_view name) const {
  return std::visit([&](auto field) { return static_cast<double>(this->*field); }, find_field(name));
}

std::vector<std::string> GenerationConfig::names() {
  std::vector<std::string> names;
  for (const auto& [name, field] : fields()) names.push_back(name);
  return names;
}

std::string v1::name_of(FinishReason reason) {
  return reason == FinishReason::kStop ? "stop" : reason == FinishReason::kLength ? "length" : "cancelled";
}

namespace api {

generate::GenerateOptions to_options(const GenerationConfig& config) {
  for (const auto& [name, value] : {std::pair("max_tokens", config.max_tokens), std::pair("context", config.context),
                                    std::pair("min_length", config.min_length)}) {
    if (value < 0) core::fail(core::ErrorKind::kInvalidInput, "{} is {}, expected 0 or more", name, value);
  }
  generate::GenerateOptions options;
  options.sampling = {.temperature = static_cast<float>(config.temperature),
                      .top_k = config.top_k,
                      .top_p = static_cast<float>(config.top_p),
                      .min_p = static_cast<float>(config.min_p),
                      .repetition_penalty = static_cast<float>(config.repetition_penalty),
                      .presence_penalty = static_cast<float>(config.presence_penalty),
                      .frequency_penalty = static_cast<float>(config.frequency_penalty),
                      .no_repeat_ngram_size = config.no_repeat_ngram_size,
                      .seed = config.seed};
  options.logit_bias = config.logit_bias;
  options.stream = config.stream;
  options.max_tokens = config.max_tokens;
  options.context = config.context;
  options.min_length = config.min_length;
  options.ends = config.end_tokens;
  options.stop_strings = config.stop_strings;
  options.speculation = config.speculate ? generate::Speculation::kWhereFaster : generate::Speculation::kOff;
  options.top_log_probabilities = config.top_log_probabilities;
  return options;
}

LogProbability convert(const generate::TokenLogProbability& token) {
  return {token.id, token.log_probability};
}

FinishReason convert(generate::FinishReason reason) {
  switch (reason) {
    case generate::FinishReason::kStop:
      return FinishReason::kStop;
    case generate::FinishReason::kLength:
      return FinishReason::kLength;
    case generate::FinishReason::kCancelled:
      break;
  }
  return FinishReason::kCancelled;
}

Reply convert(generate::Reply reply) {
  Reply result;
  result.text = std::move(reply.text);
  result.ids = std::move(reply.ids);
  result.finish = convert(reply.finish);
  result.prompt_tokens = reply.prompt_tokens;
  result.cached_tokens = reply.cached_tokens;
  result.drafted_tokens = reply.drafted_tokens;
  result.accepted_tokens = reply.accepted_tokens;
  result.prompt_seconds = reply.prompt_seconds;
  result.generate_seconds = reply.generate_seconds;
  for (const generate::LogProbabilities& token : reply.log_probabilities) {
    result.log_probabilities.push_back(token.chosen.log_probability);
    auto& top = result.top_log_probabilities.emplace_back();
    for (const auto& likely : token.top) top.push_back(convert(likely));
  }
  return result;
}

}  // namespace api
}  // namespace salient
