#include "serve/tools_request.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/completion_request.h"
#include "serve/failure.h"

namespace salient::serve {

namespace {

constexpr size_t kMostTools = 128;  // of OpenAI's API

/// A function that a request offers; `pointer` is where it stands in the body.
Tool read_function(FieldReader& function, OrderedBody& body, const std::string& pointer) {
  Tool tool;
  function.require("name");
  tool.name = function.text("name");
  if (tool.name.empty()) function.fail("name", "a text that is not empty");
  function.text("description");
  function.flag("strict");
  tool.parameters = {{"type", "object"}, {"properties", nlohmann::ordered_json::object()}};
  if (function.has("parameters")) {
    if (!function.get("parameters").is_object()) function.fail("parameters", "a JSON schema");
    tool.parameters = body.at(pointer + "/parameters");
  }
  return tool;
}

Tool read_tool(const nlohmann::json& json, size_t index, OrderedBody& body, ToolForm form) {
  const std::string where = fmt::format("tools[{}]", index);
  const std::string pointer = fmt::format("/tools/{}", index);
  FieldReader fields(json, where + ".");
  if (fields.text("type", "function") != "function") fields.fail("type", "\"function\"");
  Tool tool;
  if (form == ToolForm::kFlat) {
    tool = read_function(fields, body, pointer);
  } else {
    FieldReader function(fields.require("function"), where + ".function.");
    tool = read_function(function, body, pointer + "/function");
    function.finish();
  }
  fields.finish();
  return tool;
}

/// The name of the function that must be called.
std::string read_named_choice(const nlohmann::json& choice, ToolForm form) {
  FieldReader fields(choice, "tool_choice.");
  if (fields.text("type", "function") != "function") fields.fail("type", "\"function\"");
  std::string name;
  if (form == ToolForm::kFlat) {
    fields.require("name");
    name = fields.text("name");
  } else {
    FieldReader function(fields.require("function"), "tool_choice.function.");
    function.require("name");
    name = function.text("name");
    function.finish();
  }
  fields.finish();
  return name;
}

/// Tools as chat templates know them.
nlohmann::ordered_json to_nested(const nlohmann::ordered_json& tools) {
  nlohmann::ordered_json nested = nlohmann::ordered_json::array();
  for (nlohmann::ordered_json function : tools) {
    function.erase("type");
    nested.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return nested;
}

}  // namespace

ToolsRequest read_tools(FieldReader& fields, OrderedBody& body, ToolForm form) {
  ToolsRequest request;
  const nlohmann::json& tools = fields.get("tools");
  if (!tools.is_null() && (!tools.is_array() || tools.size() > kMostTools)) {
    fields.fail("tools", fmt::format("a list of at most {}", kMostTools));
  }
  for (size_t i = 0; i < tools.size(); ++i) request.tools.push_back(read_tool(tools[i], i, body, form));
  if (!fields.flag("parallel_tool_calls", true)) request.most_calls = 1;

  const nlohmann::json& choice = fields.get("tool_choice");
  if (choice.is_object()) {
    const std::string name = read_named_choice(choice, form);
    const auto is_named = [&](const Tool& tool) { return tool.name == name; };
    std::copy_if(request.tools.begin(), request.tools.end(), std::back_inserter(request.must_call_of), is_named);
    if (request.must_call_of.empty()) fields.fail("tool_choice", "the name of one of the tools");
    request.most_calls = 1;
  } else if (choice == "required") {
    if (request.tools.empty()) fields.fail("tool_choice", "it only where there are tools");
    request.must_call_of = request.tools;
  } else if (!choice.is_null() && choice != "auto" && choice != "none") {
    fields.fail("tool_choice", "\"none\", \"auto\", \"required\" or a function");
  }
  request.must_call = !request.must_call_of.empty();
  if (choice == "none") request.tools.clear();
  if (request.tools.empty()) return request;
  const nlohmann::ordered_json& given = body.at("/tools");
  request.json = (form == ToolForm::kFlat ? to_nested(given) : given).dump();
  return request;
}

text::ToolCall read_called_function(FieldReader& function) {
  text::ToolCall call;
  function.require("name");
  call.name = function.text("name");
  call.arguments = function.text("arguments", "{}");
  try {
    parse_body(call.arguments);
  } catch (const Refusal&) {
    // A call that max_tokens cut short comes back in the history of the chat: the template gets it as it is, as text.
    if (nlohmann::json::accept(call.arguments)) function.fail("arguments", "the text of a JSON object");
  }
  return call;
}

std::vector<text::ToolCall> read_tool_calls(const nlohmann::json& calls, const std::string& where) {
  if (!calls.is_array()) throw Refusal(400, where + ".tool_calls is not a list", where + ".tool_calls");
  std::vector<text::ToolCall> result;
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string path = fmt::format("{}.tool_calls[{}].", where, i);
    FieldReader fields(calls[i], path);
    if (fields.text("type", "function") != "function") fields.fail("type", "\"function\"");
    FieldReader function(fields.require("function"), path + "function.");
    text::ToolCall call = read_called_function(function);
    call.id = fields.text("id");
    fields.ignore({"index"});
    fields.finish();
    function.finish();
    result.push_back(std::move(call));
  }
  return result;
}

}  // namespace salient::serve
