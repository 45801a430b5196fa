#pragma once

#include <vector>

#include "checkpoint/gguf_writer.h"
#include "model/decoder.h"

namespace salient::convert {

/// What a GGUF file says of a model beside its weights and vocabulary.
struct GgufDescription {
  checkpoint::GgufOutputMetadata metadata;
  std::vector<checkpoint::GgufOutputTensor> tensors;  ///< factors of rotary frequencies
};

/// The keys of llama.cpp's converter for the architecture. Throws unsupported for what they have no words for.
GgufDescription describe_for_gguf(const model::Decoder& decoder);

}  // namespace salient::convert
