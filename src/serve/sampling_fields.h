#pragma once

#include "generate/logit_changes.h"
#include "generate/sampler.h"
#include "serve/field_reader.h"

namespace salient::serve {

/// Reads the fields that say how tokens are chosen over what `sampling` says. Without a seed it draws one.
void read_sampling(FieldReader& fields, generate::SamplingOptions& sampling);

/// Reads "logit_bias": an object from token ids, as texts, to numbers from -100 to 100.
generate::LogitBias read_logit_bias(FieldReader& fields);

}  // namespace salient::serve
