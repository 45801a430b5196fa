#include "serve/tool_style.h"

#include <fmt/format.h>

#include <array>

namespace salient::serve {

namespace {

using nlohmann::ordered_json;

constexpr ToolStyle kHermes = {"hermes", "<tool_call>", "<tool_call>", "</tool_call>", "arguments", false};

/// In the order in which they are looked for: some templates speak of more than one.
constexpr std::array kStyles = {
    kHermes,
    ToolStyle{"phi", "<|tool_call|>", "<|tool_call|>", "<|/tool_call|>", "arguments", true},
    // Its templates take no other ids.
    ToolStyle{"mistral", "[TOOL_CALLS]", "[TOOL_CALLS]", "", "arguments", true, false, "", 9},
    ToolStyle{"llama", "<|python_tag|>", "<|python_tag|>", "", "parameters", false, true},
    ToolStyle{"llama", "\"parameters\": dictionary", "<|python_tag|>", "", "parameters", false, true},
};

std::optional<int32_t> special_id(std::string_view mark, const text::Tokenizer& tokenizer) {
  const auto id = mark.empty() ? std::nullopt : tokenizer.id_of(mark);
  return id && tokenizer.decode(std::array{*id, *id}, true).empty() ? id : std::nullopt;
}

std::string literal(std::string_view text) {
  return ordered_json(std::string(text)).dump();
}

/// A mark as Lark has it: a special token by its id, anything else by its text.
std::string in_lark(std::string_view mark, const text::Tokenizer& tokenizer) {
  const auto id = special_id(mark, tokenizer);
  return id ? fmt::format("<[{}]>", *id) : literal(mark);
}

/// References within a schema, which becomes a part of another at `place`.
void move_references(ordered_json& schema, const std::string& place) {
  if (schema.is_array()) {
    for (ordered_json& item : schema) move_references(item, place);
  }
  if (!schema.is_object()) return;
  for (auto& [name, value] : schema.items()) {
    if (name == "$ref" && value.is_string() && value.get<std::string>().starts_with("#")) {
      value = "#" + place + value.get<std::string>().substr(1);
    } else {
      move_references(value, place);
    }
  }
}

/// The schema of one call, which stands at `place` in the whole.
ordered_json call_schema(const ToolStyle& style, const std::vector<Tool>& tools, const std::string& place) {
  ordered_json calls = ordered_json::array();
  for (size_t i = 0; i < tools.size(); ++i) {
    ordered_json parameters = tools[i].parameters;
    move_references(parameters, fmt::format("{}/anyOf/{}/properties/{}", place, i, style.arguments));
    calls.push_back({{"type", "object"},
                     {"properties", {{"name", {{"const", tools[i].name}}}, {style.arguments, std::move(parameters)}}},
                     {"required", {"name", style.arguments}},
                     {"additionalProperties", false}});
  }
  return {{"anyOf", std::move(calls)}};
}

}  // namespace

const ToolStyle& tool_style_of(const text::ChatTemplate& chat_template) {
  for (const ToolStyle& style : kStyles) {
    if (chat_template.mentions(style.in_template)) return style;
  }
  return kStyles.front();
}

text::GrammarText tool_call_grammar(const ToolStyle& style, const text::Tokenizer& tokenizer,
                                    const std::vector<Tool>& tools, int64_t most_calls) {
  const std::string close = style.close.empty() ? "" : in_lark(style.close, tokenizer);
  const std::string open = style.may_begin_bare ? "" : in_lark(style.open, tokenizer);
  if (style.is_list) {
    const ordered_json list = {
        {"type", "array"}, {"items", call_schema(style, tools, "/items")}, {"minItems", 1}, {"maxItems", most_calls}};
    return {"lark", fmt::format("start: {} \" \"? calls {}\ncalls: %json {}\n", open, close, list.dump())};
  }
  const std::string call = "call: %json " + call_schema(style, tools, "").dump() + "\n";
  // Without a mark behind it, a call is the whole reply.
  if (style.close.empty()) return {"lark", fmt::format("start: {} call\n{}", open, call)};
  const std::string more = most_calls > 1 ? fmt::format("(\"\\n\" marked){{0,{}}}", most_calls - 1) : "";
  return {"lark", fmt::format("start: marked {}\nmarked: {} \"\\n\" call \"\\n\" {}\n{}", more, open, close, call)};
}

std::vector<int32_t> special_marks(const ToolStyle& style, const text::Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  for (const std::string_view mark : {style.open, style.close}) {
    if (const auto id = special_id(mark, tokenizer)) ids.push_back(*id);
  }
  return ids;
}

}  // namespace salient::serve
