#pragma once

#include <salient/salient.hpp>

#include "generate/generator.h"

namespace salient::api {

/// The configuration in the terms of the layer below, for a model of so many tokens of context.
generate::GenerateOptions to_options(const GenerationConfig& config);

LogProbability convert(const generate::TokenLogProbability& token);
FinishReason convert(generate::FinishReason reason);
Reply convert(generate::Reply reply);

}  // namespace salient::api
