#pragma once

#include <optional>

#include "serve/field_reader.h"
#include "serve/ordered_body.h"
#include "text/grammar.h"

namespace salient::serve {

/// Reads what the reply must follow: OpenAI's "response_format", "json_schema" as llama-server has it, or vLLM's
/// "guided_json", "guided_regex" and "guided_choice". Throws a Refusal when there is more than one. A schema is not
/// looked at here.
std::optional<text::GrammarText> read_reply_format(FieldReader& fields, OrderedBody& body);

/// Reads "text", in which responses say the same: a format of the type "text", "json_object" or "json_schema".
std::optional<text::GrammarText> read_text_format(FieldReader& fields, OrderedBody& body);

}  // namespace salient::serve
