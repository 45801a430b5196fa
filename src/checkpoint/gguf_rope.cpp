#include <algorithm>
#include <cmath>
#include <cstring>

#include "checkpoint/gguf_architecture.h"
#include "checkpoint/rope_words.h"
#include "core/error.h"

namespace salient::checkpoint {

using core::ErrorKind;
using core::fail;
using nlohmann::json;

namespace {

constexpr const char* kLlama3Factors = "rope_freqs.weight";
constexpr const char* kLongFactors = "rope_factors_long.weight";
constexpr const char* kShortFactors = "rope_factors_short.weight";

/// The dimensions of a head that turn.
int64_t rotary_dimensions(const json& config) {
  const auto head_dim = config["head_dim"].get<int64_t>();
  return static_cast<int64_t>(static_cast<double>(head_dim) * config.value("partial_rotary_factor", 1.0));
}

/// A divisor for the frequency of each pair of dimensions.
std::vector<float> read_factors(const GgufFile& gguf, const char* name, int64_t count) {
  const auto found = gguf.tensors.find(name);
  if (found == gguf.tensors.end()) {
    fail(ErrorKind::kInvalidInput, "{}: has no tensor {}", gguf.file->path().string(), name);
  }
  const core::TensorView& view = found->second.view;
  if (view.dtype != core::DType::kF32 || view.shape != std::vector<int64_t>{count}) {
    fail(ErrorKind::kInvalidInput, "{}: tensor {} is {} [{}], expected F32 [{}], a number for each pair that turns",
         gguf.file->path().string(), name, core::info_of(view.dtype).name, fmt::join(view.shape, ", "), count);
  }
  std::vector<float> factors(static_cast<size_t>(count));
  std::memcpy(factors.data(), view.bytes.data(), factors.size() * sizeof(float));
  for (const float factor : factors) {
    if (factor > 0 && std::isfinite(factor)) continue;
    fail(ErrorKind::kInvalidInput, "{}: tensor {} holds {}, expected numbers above 0", gguf.file->path().string(), name,
         factor);
  }
  return factors;
}

json make_llama3_scaling(const GgufFile& gguf, const json& config) {
  const auto factors = read_factors(gguf, kLlama3Factors, rotary_dimensions(config) / 2);
  if (std::all_of(factors.begin(), factors.end(), [](float factor) { return factor == 1; })) return nullptr;
  if (auto found = find_llama3_parameters(factors, config["rope_theta"].get<double>())) return *found;
  fail(ErrorKind::kUnsupported, "{}: tensor {} holds other factors than those of Llama 3, which are not supported",
       gguf.file->path().string(), kLlama3Factors);
}

json make_longrope_scaling(const GgufFile& gguf, const GgufFields& fields, const json& config) {
  const int64_t pairs = rotary_dimensions(config) / 2;
  // "type" and three fields: transformers' check of Phi-3 asks for these.
  json scaling = {{"type", "longrope"},
                  {"short_factor", read_factors(gguf, kShortFactors, pairs)},
                  {"long_factor", read_factors(gguf, kLongFactors, pairs)}};
  const auto original = config["original_max_position_embeddings"].get<double>();
  const double usual = longrope_attention_factor(config["max_position_embeddings"].get<double>() / original, original);
  if (fields.has("rope.scaling.attn_factor")) {
    const json stated = fields.number("rope.scaling.attn_factor");
    if (std::abs(stated.get<double>() - usual) > 1e-5) scaling["attention_factor"] = stated;
  }
  return scaling;
}

json make_yarn_scaling(const GgufFields& fields) {
  json scaling = {{"rope_type", "yarn"}, {"factor", fields.number("rope.scaling.factor")}};
  if (fields.has("rope.scaling.original_context_length")) {
    scaling["original_max_position_embeddings"] = fields.integer("rope.scaling.original_context_length");
  }
  for (const auto& [field, name] :
       {std::pair{"rope.scaling.yarn_beta_fast", "beta_fast"}, std::pair{"rope.scaling.yarn_beta_slow", "beta_slow"}}) {
    if (fields.has(field)) scaling[name] = fields.number(field);
  }
  return scaling;
}

}  // namespace

json make_rope_scaling(const GgufFile& gguf, const GgufFields& fields, const json& config) {
  fields.has("rope.scaling.finetuned");
  const std::string type = fields.string_or("rope.scaling.type", "none");
  const bool longrope = gguf.tensors.contains(kLongFactors) || gguf.tensors.contains(kShortFactors);
  if (longrope && !config.contains("original_max_position_embeddings")) {
    fail(ErrorKind::kUnsupported, "{}: tensor {} is not supported in {} models", fields.origin(), kLongFactors,
         fields.architecture());
  }
  if (longrope || type == "longrope") {
    if (type != "longrope" && type != "none") fields.refuse("rope.scaling.type", "longrope beside its factors");
    if (!config.contains("original_max_position_embeddings"))
      fields.refuse("rope.scaling.type", "none, linear or yarn");
    return make_longrope_scaling(gguf, fields, config);
  }
  if (gguf.tensors.contains(kLlama3Factors)) {
    if (type != "none") fields.refuse("rope.scaling.type", fmt::format("none beside {}", kLlama3Factors));
    return make_llama3_scaling(gguf, config);
  }
  if (type == "linear") return {{"rope_type", "linear"}, {"factor", fields.number("rope.scaling.factor")}};
  if (type == "yarn") return make_yarn_scaling(fields);
  if (type != "none") fields.refuse("rope.scaling.type", "none, linear, yarn or longrope");
  if (const json factor = fields.number_or("rope.scaling.factor", 1); factor != 1 && factor != 0) {
    fields.refuse("rope.scaling.factor", "1 without a rope.scaling.type");
  }
  return nullptr;
}

}  // namespace salient::checkpoint
