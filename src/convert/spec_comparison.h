#pragma once

#include <string>

#include "model/decoder_spec.h"

namespace salient::convert {

/// Throws unsupported, beginning with `origin`, where the description that `format` gives of a model computes something
/// else than the model: the first difference is named. Frequencies may differ by the rounding of fp32.
void check_same_decoder(const model::DecoderSpec& model, const model::DecoderSpec& written, const std::string& origin,
                        const std::string& format);

}  // namespace salient::convert
