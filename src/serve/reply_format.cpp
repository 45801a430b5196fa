#include "serve/reply_format.h"

#include <string>

namespace salient::serve {

namespace {

/// A schema, given as JSON or as its text.
text::GrammarText json_schema(const nlohmann::ordered_json& schema) {
  return {"json_schema", schema.is_string() ? schema.get<std::string>() : schema.dump()};
}

text::GrammarText any_object() {
  return {"json_schema", R"({"type": "object"})"};
}

std::optional<text::GrammarText> read_response_format(FieldReader& fields, OrderedBody& body) {
  const nlohmann::json& format = fields.get("response_format");
  if (format.is_null()) return std::nullopt;
  FieldReader parts(format, "response_format.");
  const std::string type = parts.text("type");
  std::optional<text::GrammarText> grammar;
  if (type == "json_schema") {
    FieldReader named(parts.require("json_schema"), "response_format.json_schema.");
    named.require("schema");
    // A reply always follows its schema strictly.
    named.ignore({"name", "description", "strict"});
    named.finish();
    grammar = json_schema(body.at("/response_format/json_schema/schema"));
  } else if (type == "json_object") {
    grammar = parts.has("schema") ? json_schema(body.at("/response_format/schema")) : any_object();
  } else if (type != "text") {
    fields.fail("response_format", "one whose type is \"text\", \"json_object\" or \"json_schema\"");
  }
  parts.finish();
  return grammar;
}

/// One of several texts.
std::optional<text::GrammarText> read_choice(FieldReader& fields) {
  constexpr size_t kMostChoices = 1000;
  const std::vector<std::string> choices = fields.texts("guided_choice", kMostChoices);
  if (choices.empty()) return std::nullopt;
  std::string alternatives;
  for (const std::string& choice : choices) {
    alternatives += (alternatives.empty() ? "" : " | ") + nlohmann::json(choice).dump();
  }
  return text::GrammarText{"lark", "start: " + alternatives};
}

}  // namespace

std::optional<text::GrammarText> read_reply_format(FieldReader& fields, OrderedBody& body) {
  std::optional<text::GrammarText> grammar = read_response_format(fields, body);
  const char* given = grammar ? "response_format" : nullptr;
  const auto take = [&](const char* name, std::optional<text::GrammarText> other) {
    if (!other) return;
    if (given) fields.fail(name, std::string("nothing beside ") + given);
    given = name;
    grammar = std::move(other);
  };
  for (const char* name : {"json_schema", "guided_json"}) {
    if (fields.has(name)) take(name, json_schema(body.at(std::string("/") + name)));
  }
  const std::string regex = fields.text("guided_regex");
  if (!regex.empty()) take("guided_regex", text::GrammarText{"regex", regex});
  take("guided_choice", read_choice(fields));
  return grammar;
}

std::optional<text::GrammarText> read_text_format(FieldReader& fields, OrderedBody& body) {
  if (!fields.has("text")) return std::nullopt;
  FieldReader text(fields.get("text"), "text.");
  text.ignore({"verbosity"});
  std::optional<text::GrammarText> grammar;
  if (text.has("format")) {
    FieldReader format(text.get("format"), "text.format.");
    const std::string type = format.text("type");
    if (type == "json_schema") {
      format.require("schema");
      format.ignore({"name", "description", "strict"});
      grammar = json_schema(body.at("/text/format/schema"));
    } else if (type == "json_object") {
      grammar = any_object();
    } else if (type != "text") {
      text.fail("format", "one whose type is \"text\", \"json_object\" or \"json_schema\"");
    }
    format.finish();
  }
  text.finish();
  return grammar;
}

}  // namespace salient::serve
