#pragma once

#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_writer.h"
#include "model/decoder_spec.h"

namespace salient::convert {

/// The tokenizer.ggml.* keys that say what a model's tokenizer.json, tokenizer_config.json and generation_config.json
/// say: a byte-level BPE vocabulary with its merges, or a SentencePiece one, whose merges become scores. Ids of the
/// embedding table that the tokenizer does not know are unused tokens.
/// Throws invalid_input without a tokenizer, unsupported for one that GGUF has no words for.
checkpoint::GgufOutputMetadata describe_vocabulary(const checkpoint::Checkpoint& checkpoint,
                                                   const model::DecoderSpec& spec);

}  // namespace salient::convert
