#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace salient::model {

/// The shapes that have a name: phi-3-mini, mistral-7b, phi-3-medium.
std::vector<std::string> synthetic_names();

/// The config.json of a named shape: the sizes and context of the published model, with full attention and without
/// rotary scaling, which change no matrix. Throws not_found for another name.
nlohmann::json synthetic_config(const std::string& name);

/// A model of random weights in memory, to see how fast a shape runs: every decoder linear in int4 with groups of 128
/// and a zero point a group, embeddings and head in fp16, norms of 1, and a tokenizer of single bytes. The same weights
/// every time and everywhere, made when they are read, of such sizes that logits stay near 1. Scales have 7 significant
/// bits, so that fp16 holds scale * zero exactly and every format of int4 can hold the model.
/// Throws what read_decoder_spec does, and unsupported when 128 does not divide the inputs of a linear.
checkpoint::Checkpoint make_synthetic(const std::string& name, const nlohmann::json& config);

}  // namespace salient::model
