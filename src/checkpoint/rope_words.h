#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace salient::checkpoint {

// Rotary embeddings in the words of transformers' config.json, for formats that store numbers only.

/// The rope_theta whose plain frequencies theta^(-2i / d) the leading, precise ones of these are: the roundest number
/// within 1e-5 of the estimate's logarithm. Nothing where they are no powers of one number.
std::optional<double> find_rope_theta(const std::vector<float>& frequencies);

/// The llama3 parameters whose divisors of the plain frequencies these are. A format has only the divisors; the
/// published models differ in the largest one and the original context.
std::optional<nlohmann::json> find_llama3_parameters(const std::vector<float>& factors, double theta);

/// cos and sin are multiplied by this in longrope where config.json does not say, for a context of `factor` times the
/// original one: Ding et al., "LongRoPE", 2024.
double longrope_attention_factor(double factor, double original);

/// theta^(2i / rotary_dim), the reciprocal of a plain frequency, in fp32 as transformers computes it.
float rope_wavelength(double theta, int64_t pair, int64_t rotary_dim);

/// The share of a head that turns, such that its product with head_dim is `dimensions` when rounded down.
double partial_rotary_factor(int64_t dimensions, int64_t head_dim);

}  // namespace salient::checkpoint
