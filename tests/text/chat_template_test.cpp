#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_tokenizer.h"
#include "text/tokenizer.h"

namespace salient::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::vector<Message> kConversation = {
    {"system", " Be «brief» é你 <b> & 'x' \"q\"\n"}, {"user", "Hello World"}, {"assistant", "Hi"}};

std::string render(const std::string& source, const std::vector<Message>& messages = kConversation) {
  const json config = {{"chat_template", source}, {"bos_token", "<s>"}, {"eos_token", {{"content", "</s>"}}}};
  return ChatTemplate(config, "models/x").render(messages, true);
}

/// The kind and sentence of the error that a template ends with.
std::string refusal_of(const json& tokenizer_config) {
  try {
    return "rendered: " + ChatTemplate(tokenizer_config, "models/x").render(kConversation, true);
  } catch (const core::Error& error) {
    return std::string(core::name_of(error.kind())) + ": " + error.what();
  }
}

std::string refusal_of_source(const std::string& source) {
  return refusal_of({{"chat_template", source}});
}

struct Case {
  const char* source;
  const char* expected;
};

// What transformers 4.57.6 (render_jinja_template) gives for kConversation.
const Case kCases[] = {
    {"a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"},
    {"a {%- if true -%}  b  {%- endif %} c", "ab c"},
    {"{#  c #}\nx", "x"},
    {"  {# c #}\nx\n\n", "x\n"},
    {"x\n  {%+ if true %}y{% endif +%}\nz", "x\n  y\nz"},
    {"{{ messages[0]['content'] | tojson }}", "\" Be «brief» é你 <b> & 'x' \\\"q\\\"\\n\""},
    {"{{ messages | tojson }}",
     "[{\"role\": \"system\", \"content\": \" Be «brief» é你 <b> & 'x' \\\"q\\\"\\n\"}, {\"role\": \"user\", "
     "\"content\": \"Hello World\"}, {\"role\": \"assistant\", \"content\": \"Hi\"}]"},
    {"{{ messages[1] | tojson(indent=2) }}", "{\n  \"role\": \"user\",\n  \"content\": \"Hello World\"\n}"},
    {"{{ {'b': [1, 2.5, true, none, []], 'a': {}} | tojson }}", "{\"b\": [1, 2.5, true, null, []], \"a\": {}}"},
    {"{{ {'b': [1, [], {}], 'a': {'x': 1}} | tojson(indent=4) }}",
     "{\n    \"b\": [\n        1,\n        [],\n        {}\n    ],\n    \"a\": {\n        \"x\": 1\n    }\n}"},
    {"{{ {'b': 1, 'a': [1,2]} | tojson(separators=(',', ':')) }}", "{\"b\":1,\"a\":[1,2]}"},
    {"{{ {'b': 1, 'a': [1,2]} | tojson(sort_keys=true) }}", "{\"a\": [1, 2], \"b\": 1}"},
    {"{{ 'é😀' | tojson(ensure_ascii=true) }}", "\"\\u00e9\\ud83d\\ude00\""},
    {"{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{{ loop.index }}{{ m.role }}{% if not "
     "loop.last %},{% endif %}{% endfor %}",
     "1system,3assistant"},
    {"{% for m in messages %}{% if m.role == 'user' %}{% break %}{% endif %}{{ m.role }}{% endfor %}", "system"},
    {"{% set ns = namespace(n=0, found=false) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.found = true "
     "%}{% endfor %}{{ ns.n }} {{ ns.found }}",
     "3 True"},
    {"{% set x = 0 %}{% for m in messages %}{% set x = x + 1 %}{% endfor %}{{ x }}", "0"},
    {"[{{ messages[0].content.strip() }}]", "[Be «brief» é你 <b> & 'x' \"q\"]"},
    {"{{ messages[1].content.startswith('Hell') }} {{ messages[1].content.endswith('x') }}", "True False"},
    {"{{ messages[1].content.split(' ') | length }} {{ messages[1].content.split(' ')[-1] }} {{ 'a  b c'.split() | "
     "join('|') }} {{ 'a,b,c'.split(',', 1) | join('|') }}",
     "2 World a|b|c a|b,c"},
    {"{{ messages[1].content.upper() }} {{ messages[1].content.lower() }} {{ 'hello world'.title() }} {{ "
     "'hELLO'.capitalize() }}",
     "HELLO WORLD hello world Hello World Hello"},
    {"{{ messages[1].content.replace('l', 'L') }} {{ 'aaa'.replace('a', 'b', 2) }}", "HeLLo WorLd bba"},
    {"[{{ '  x '.lstrip() }}][{{ '  x '.rstrip() }}][{{ 'xxaxx'.strip('x') }}][{{ '\n a \n'.strip('\n') }}]",
     "[x ][  x][a][ a ]"},
    {"{{ 'abcabc'.find('c') }} {{ 'abc'.find('z') }} {{ 'abcabc'.count('b') }}", "2 -1 2"},
    {"{% for k, v in messages[1].items() %}{{ k }}={{ v }};{% endfor %}", "role=user;content=Hello World;"},
    {"{{ messages[1].get('role') }} {{ messages[1].get('nope') }} {{ messages[1].get('nope', 'd') }}", "user None d"},
    {"{% for k in messages[1].keys() %}{{ k }} {% endfor %}{% for k in messages[1] %}{{ k }} {% endfor %}",
     "role content role content "},
    {"{% for m in messages[1:] %}{{ m.role }} {% endfor %}{{ messages[-1].role }} {% for m in messages[::-1] %}{{ "
     "m.role }} {% endfor %}{{ messages[1].content[:4] }}{{ messages[1].content[-3:] }}",
     "user assistant assistant assistant user system Hellrld"},
    {"{{ foo is defined }} {{ tools is defined }} {{ tools is none }} {{ documents is none }} {{ messages is defined "
     "}} [{{ foo }}] {{ messages[0].nope is defined }}",
     "False True True True True [] False"},
    {"{% if tools is not none %}tools{% else %}none{% endif %}", "none"},
    {"{{ true }} {{ false }} {{ none }} {{ add_generation_prompt }}", "True False None True"},
    {"{{ bos_token }}{{ eos_token }}[{{ pad_token }}]", "<s></s>[]"},
    {"a\n{% generation %}\n  b\n{% endgeneration %}\nc", "a\n  b\nc"},
    {"{%- generation -%}  b  {%- endgeneration -%} c", "bc"},
    {"{% macro f(x, y='d') %}<{{ x }}{{ y }}>{% endmacro %}{{ f('a') }}{{ f('b', y='c') }}", "<ad><bc>"},
    {"{{ 7 // 2 }} {{ 7 / 2 }} {{ 7 % 3 }} {{ 2 ** 3 }} {{ 1 + 1.0 }} {{ 'a' ~ 1 ~ 'b' }} {{ 4 / 2 }}",
     "3 3.5 1 8 2.0 a1b 2.0"},
    {"{{ 'yes' if messages[0].role == 'system' else 'no' }} {{ 'a' in 'abc' }} {{ 'role' in messages[0] }} {{ 'x' not "
     "in messages[0] }}",
     "yes True True True"},
    {"{{ messages | length }} {{ messages | map(attribute='role') | join(',') }} {{ messages | selectattr('role', "
     "'equalto', 'user') | list | length }}",
     "3 system,user,assistant 1"},
    {"{{ '%s-%s' | format('a', 'b') }} {{ ['a','b'] | join }} {{ 'x' | default('d') }} {{ foo | default('d') }} {{ 'a "
     "b' | upper }} {{ ' a ' | trim }}",
     "a-b ab x d A B a"},
    {"{{ messages[0].content }}", " Be «brief» é你 <b> & 'x' \"q\"\n"},
    {"{{ '<b>' }} {{ '<b>' | e }}", "<b> &lt;b&gt;"},
    {"{% if messages[0].role == 'system' and not (messages | length > 5) %}ok{% elif x %}n{% endif %}", "ok"},
    {"{{ loop is defined }}{% for i in range(3) %}{{ i }}{{ loop.first }}{{ loop.previtem is defined }}{% endfor %}",
     "False0TrueFalse1FalseTrue2FalseTrue"},
    {"{{ messages[0]['content'] is string }} {{ messages is iterable }} {{ messages[0] is mapping }} {{ messages is "
     "sequence }} {{ 1 is number }} {{ 3 is odd }}",
     "True True True True True True"},
    {"{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t %}in{{ a }}{% endset %}{{ t }}", "12in1"},
    {"{% filter upper %}abc{% endfilter %}{% raw %}{{ x }}{% endraw %}", "ABC{{ x }}"},
    {"{{ 1.0 }} {{ 0.1 + 0.2 }}", "1.0 0.30000000000000004"},
    {"{% for m in messages if m.role != 'system' %}{{ m.role }}{{ loop.index0 }}{% else %}none{% endfor %}",
     "user0assistant1"},
    {"{{ true ~ 'x' }}", "Truex"},
    {"{{ messages | tojson | length }}", "151"},
    {"{{ 'a\nb'.splitlines() | join('|') }} {{ '-'.join(['a','b']) }} {{ 'x'.isdigit() }} {{ '12'.isdigit() }}",
     "a|b a-b False True"},
    {"{{ strftime_now('%Y') | length }}", "4"},
};

TEST(ChatTemplate, RendersAsTransformersDoes) {
  for (const Case& one : kCases) {
    try {
      EXPECT_EQ(render(one.source), one.expected) << one.source;
    } catch (const core::Error& error) {
      ADD_FAILURE() << one.source << ": " << error.what();
    }
  }
}

TEST(ChatTemplate, QuotesTheMessageOfRaiseException) {
  EXPECT_EQ(refusal_of_source("{{ raise_exception('Roles must alternate é!') }}"),
            "invalid_input: models/x: the chat template refused the conversation: Roles must alternate é!");
}

TEST(ChatTemplate, RefusesWhatPythonRefuses) {
  for (const char* source : {"{{ foo.bar }}", "{{ messages[7].role }}", "{{ 'a' + 1 }}", "{{ messages[0].nope() }}",
                             "{{ foo() }}", "{{ 'a' | nofilter }}", "{{ 1 // 0 }}"}) {
    EXPECT_TRUE(refusal_of_source(source).starts_with("invalid_input: models/x: ")) << refusal_of_source(source);
  }
}

TEST(ChatTemplate, TellsTheDate) {
  char date[16] = {};
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%d %b %Y", std::localtime(&now));
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}"), date);
  EXPECT_TRUE(refusal_of_source("{{ strftime_now('%Q') }}").starts_with("invalid_input: ")) << "a bad format";
}

TEST(ChatTemplate, TakesTheTemplateNamedDefaultOfAList) {
  const json named = {{{"name", "tool_use"}, {"template", "tools"}}, {{"name", "default"}, {"template", "plain"}}};
  EXPECT_EQ(refusal_of({{"chat_template", named}}), "rendered: plain");
}

TEST(ChatTemplate, TakesTheOneNamedToolUseWhereThereAreTools) {
  const json named = {{{"name", "default"}, {"template", "plain"}},
                      {{"name", "tool_use"}, {"template", "{{ tools | length }} <tool_call>"}},
                      {{"name", "rag"}, {"template", "{% no matter"}}};
  const ChatTemplate chat({{"chat_template", named}}, "models/x");
  EXPECT_EQ(chat.render({{"user", "hi"}}, true), "plain");
  EXPECT_EQ(chat.render({{"user", "hi"}}, true, R"([{"type": "function"}])"), "1 <tool_call>");
  EXPECT_EQ(chat.render_json(R"([{"role": "user"}])", R"([{}, {}])", true), "2 <tool_call>");
  EXPECT_TRUE(chat.mentions("<tool_call>"));
  EXPECT_FALSE(chat.mentions("plain"));
  const json broken = {{{"name", "default"}, {"template", "plain"}}, {{"name", "tool_use"}, {"template", "{% if %}"}}};
  EXPECT_TRUE(refusal_of({{"chat_template", broken}}).starts_with("invalid_input: models/x: chat_template does not"));
}

TEST(ChatTemplate, RefusesAConfigWithoutOne) {
  const std::string expected = "unsupported: models/x: has no chat template, so it is not a chat model";
  for (const json& config :
       {json(), json::array(), json::object(), json{{"chat_template", nullptr}}, json{{"chat_template", 7}},
        json{{"chat_template", {1, "x"}}}, json{{"chat_template", {{{"name", 7}, {"template", "x"}}}}},
        json{{"chat_template", {{{"name", "default"}, {"template", 7}}}}}}) {
    EXPECT_EQ(refusal_of(config), expected) << config;
  }
}

TEST(ChatTemplate, RefusesOneThatDoesNotParseBeforeAnythingIsRendered) {
  for (const char* source : {"{% if %}", "{{ ", "{% for x in y %}", "{% generation %}", "{{ 'a }}", "{% nothing %}"}) {
    try {
      const ChatTemplate chat({{"chat_template", source}}, "models/x");
      ADD_FAILURE() << source << " was accepted";
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInvalidInput);
      EXPECT_TRUE(std::string(error.what()).starts_with("models/x: chat_template does not parse: syntax error"))
          << error.what();
    }
  }
}

TEST(ChatTemplate, SpecialTokensOfOtherTypesAreNoVariables) {
  EXPECT_EQ(refusal_of({{"chat_template", "[{{ bos_token }}{{ pad_token }}]"},
                        {"bos_token", {{"content", 7}}},
                        {"pad_token", nullptr}}),
            "rendered: []");
}

TEST(ChatTemplate, StopsAnEndlessTemplate) {
  EXPECT_TRUE(refusal_of_source("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
                  .ends_with("the template runs too long"));
  EXPECT_TRUE(refusal_of_source("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").starts_with("invalid_input: "));
}

TEST(ChatTemplate, StopsAHugeOutput) {
  const std::string expected =
      "invalid_input: models/x: the chat template refused the conversation: the template's output is too long";
  EXPECT_EQ(refusal_of_source("{% for i in range(9) %}{{ 'x' * 10000000 }}{% endfor %}"), expected);
  EXPECT_TRUE(refusal_of_source("{{ 'x' * 100000000000 }}").starts_with("invalid_input: "));
}

TEST(ChatTemplate, MendsTextThatIsNotUtf8) {
  EXPECT_EQ(render("{{ messages[0].content }}", {{"user",
                                                  "a\xff"
                                                  "b"}}),
            "a\xef\xbf\xbd"
            "b");
}

TEST(ChatTemplate, APromptHoldsItsSpecialTokensOnce) {
  const Tokenizer tokenizer(tests::sentencepiece_tokenizer(), "x");
  const std::string prompt = render("{{ bos_token }}{{ messages[0].content }}", {{"user", "a"}});
  EXPECT_EQ(tokenizer.encode(prompt, false), (std::vector<int32_t>{1, 286}));
}

TEST(ChatTemplate, GivesTheGoldensOfTheTinyModels) {
  const fs::path folder = tests::shared_data() / "tiny";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  int chats = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!fs::exists(entry.path() / "goldens.json")) continue;
    const json golden = tests::read_json(entry.path() / "goldens.json").value("chat", json());
    if (!golden.is_object()) continue;
    SCOPED_TRACE(entry.path().string());
    const ChatTemplate chat(tests::read_json(entry.path() / "tokenizer_config.json"), entry.path().string());
    std::vector<Message> messages;
    for (const json& message : golden["messages"]) messages.push_back({message["role"], message["content"]});
    const std::string prompt = chat.render(messages, true);
    EXPECT_EQ(prompt, golden["text"].get<std::string>());
    std::ifstream file(entry.path() / "tokenizer.json", std::ios::binary);
    const Tokenizer tokenizer(std::string(std::istreambuf_iterator<char>(file), {}), entry.path().string());
    EXPECT_EQ(tokenizer.encode(prompt, false), golden["ids"].get<std::vector<int32_t>>());
    ++chats;
  }
  EXPECT_GE(chats, 10);
}

TEST(ChatTemplate, KnowsToolsAndCallsAsTransformersHasThem) {
  const ChatTemplate chat(
      {{"chat_template",
        "{{ tools | tojson }}{% for m in messages %}[{{ m.role }}{% if m.tool_calls %}{% for c in m.tool_calls %} "
        "{{ c.id }} {{ c.function.name }} {{ c.function.arguments.city }} {{ c.function | tojson }}{% endfor %}{% "
        "endif "
        "%}{% if m.tool_call_id is defined %} {{ m.tool_call_id }}{% endif %}]{% endfor %}"}},
      "models/x");
  const std::vector<Message> messages = {
      {"user", "?"}, {"assistant", "", {{"1", "weather", R"({"city": "Ulm", "a": 1})"}}}, {"tool", "rain", {}, "1"}};
  EXPECT_EQ(chat.render(messages, true, R"([{"type": "function"}])"),
            R"([{"type": "function"}][user][assistant 1 weather Ulm {"name": "weather", "arguments": {"city": "Ulm", )"
            R"("a": 1}}][tool 1])");
  EXPECT_TRUE(chat.render(messages, true).starts_with("null["));
  EXPECT_TRUE(chat.mentions("tools"));
  EXPECT_FALSE(chat.mentions("<tool_call>"));
}

TEST(ChatTemplateJson, TakesMessagesAsTheTemplateKnowsThem) {
  const ChatTemplate chat(json{{"chat_template",
                                "{% for m in messages %}{{ m.role }}:{% for c in m.calls %}{{ c.name }} {% endfor %}"
                                "{% endfor %}{{ tools is none }}{% if tools %}{{ tools[0].name }}{% endif %}"}},
                          "model");
  const std::string messages = R"([{"role": "assistant", "calls": [{"name": "one"}, {"name": "two"}]}])";
  EXPECT_EQ(chat.render_json(messages, "", true), "assistant:one two True");
  EXPECT_EQ(chat.render_json(messages, R"([{"name": "tool"}])", true), "assistant:one two Falsetool");
  for (const char* wrong : {"", "{}", "[1]", "[", "null"}) {
    tests::expect_error(core::ErrorKind::kInvalidInput, {"messages", "a JSON array of objects"},
                        [&] { chat.render_json(wrong, "", true); });
  }
  tests::expect_error(core::ErrorKind::kInvalidInput, {"tools"}, [&] { chat.render_json("[]", "{}", true); });
}

}  // namespace
}  // namespace salient::text
