#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "serve/field_reader.h"
#include "text/tokenizer.h"

namespace salient::serve {

/// A text, or its token ids.
using Prompt = std::variant<std::string, std::vector<int32_t>>;

/// Reads a required field that is one prompt or a list of them, at most so many.
std::vector<Prompt> read_prompts(FieldReader& fields, const char* name, size_t most);

/// A prompt's tokens, with those that the tokenizer puts around a text.
std::vector<int32_t> encode(const Prompt& prompt, const text::Tokenizer& tokenizer);

}  // namespace salient::serve
