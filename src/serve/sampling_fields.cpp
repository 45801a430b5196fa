#include "serve/sampling_fields.h"

#include <charconv>
#include <limits>
#include <random>

namespace salient::serve {

namespace {

constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
constexpr double kMostPenalty = 2;  // of OpenAI's API, like the range of biases
constexpr double kMostBias = 100;

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

/// Sets an option of type float where the field is there.
void read_number(FieldReader& fields, const char* name, double least, double most, float& option) {
  if (const auto number = fields.number(name, least, most)) option = static_cast<float>(*number);
}

}  // namespace

void read_sampling(FieldReader& fields, generate::SamplingOptions& sampling) {
  read_number(fields, "temperature", 0, 100, sampling.temperature);
  if (fields.number("top_p", 0, 1) == 0.0) fields.fail("top_p", "above 0 and at most 1");
  read_number(fields, "top_p", 0, 1, sampling.top_p);
  read_number(fields, "min_p", 0, 1, sampling.min_p);
  read_number(fields, "presence_penalty", -kMostPenalty, kMostPenalty, sampling.presence_penalty);
  read_number(fields, "frequency_penalty", -kMostPenalty, kMostPenalty, sampling.frequency_penalty);
  if (fields.number("repetition_penalty", 0, 100) == 0.0) fields.fail("repetition_penalty", "above 0 and at most 100");
  read_number(fields, "repetition_penalty", 0, 100, sampling.repetition_penalty);
  sampling.top_k = fields.integer("top_k", 0, kAny).value_or(sampling.top_k);
  // -1 is what other servers take for any.
  const int64_t seed = fields.integer("seed", -1, kAny).value_or(-1);
  sampling.seed = seed < 0 ? random_seed() : static_cast<uint64_t>(seed);
}

generate::LogitBias read_logit_bias(FieldReader& fields) {
  const nlohmann::json& given = fields.get("logit_bias");
  if (given.is_null()) return {};
  constexpr const char* kExpected = "an object from token ids to numbers from -100 to 100";
  if (!given.is_object()) fields.fail("logit_bias", kExpected);
  generate::LogitBias bias;
  for (const auto& [key, value] : given.items()) {
    int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const bool is_id = error == std::errc() && end == key.data() + key.size() && id >= 0;
    if (!is_id || !value.is_number() || std::abs(value.get<double>()) > kMostBias) {
      fields.fail("logit_bias", kExpected);
    }
    bias[id] = value.get<float>();
  }
  return bias;
}

}  // namespace salient::serve
