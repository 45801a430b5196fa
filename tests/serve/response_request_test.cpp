#include "serve/response_request.h"

#include <gtest/gtest.h>

#include "serve/failure.h"

namespace salient::serve {
namespace {

using nlohmann::json;

ResponseRequest respond(json fields) {
  fields["input"] = fields.value("input", json("hi"));
  return read_response_request(fields, {});
}

TEST(ResponseRequest, ATextIsWhatTheUserSays) {
  const ResponseRequest request = respond({{"model", "tiny"},
                                           {"instructions", "Be kind."},
                                           {"max_output_tokens", 5},
                                           {"temperature", 0.5},
                                           {"store", true},
                                           {"metadata", {{"a", "b"}}}});
  const auto& messages = request.completion.messages;
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].role, "system");
  EXPECT_EQ(messages[0].content, "Be kind.");
  EXPECT_EQ(messages[1].role, "user");
  EXPECT_EQ(messages[1].content, "hi");
  EXPECT_EQ(request.completion.max_tokens, 5);
  EXPECT_EQ(request.completion.sampling.temperature, 0.5f);
  EXPECT_EQ(request.repeated["store"], false);
  EXPECT_EQ(request.repeated["metadata"], json({{"a", "b"}}));
  EXPECT_EQ(request.repeated["text"]["format"]["type"], "text");
}

TEST(ResponseRequest, CallsBelongToWhatTheAssistantSays) {
  const json call = {{"type", "function_call"}, {"call_id", "c"}, {"name", "f"}, {"arguments", "{\"x\": 1}"}};
  json other = call;
  other["call_id"] = "d";
  const json output = {{"type", "function_call_output"}, {"call_id", "c"}, {"output", "done"}};
  const auto said = respond({{"input",
                              {{{"role", "user"}, {"content", "hi"}},
                               {{"role", "assistant"}, {"content", "I will."}},
                               call,
                               other,
                               output,
                               call}}})
                        .completion.messages;
  ASSERT_EQ(said.size(), 4u);
  EXPECT_EQ(said[1].content, "I will.");
  ASSERT_EQ(said[1].tool_calls.size(), 2u);
  EXPECT_EQ(said[1].tool_calls[0].arguments, "{\"x\": 1}");
  EXPECT_EQ(said[1].tool_calls[1].id, "d");
  EXPECT_EQ(said[2].role, "tool");
  EXPECT_EQ(said[2].tool_call_id, "c");
  EXPECT_EQ(said[2].content, "done");
  EXPECT_EQ(said[3].role, "assistant");
  EXPECT_EQ(said[3].tool_calls.size(), 1u);
}

TEST(ResponseRequest, TemplatesGetToolsAsChatsGiveThem) {
  const json body = {{"input", "hi"},
                     {"tools", {{{"type", "function"}, {"name", "f"}, {"parameters", {{"type", "object"}}}}}},
                     {"tool_choice", {{"type", "function"}, {"name", "f"}}}};
  const ResponseRequest request = read_response_request(body, {}, body.dump());
  EXPECT_EQ(json::parse(request.completion.tools.json),
            json::parse(R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])"));
  EXPECT_TRUE(request.completion.tools.must_call);
  EXPECT_EQ(request.repeated["tools"], body["tools"]);
}

TEST(ResponseRequest, ASchemaKeepsTheOrderOfItsFields) {
  const std::string schema = R"({"type":"object","properties":{"z":{},"a":{}}})";
  const std::string body =
      R"({"input": "hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": )" + schema + "}}}";
  const ResponseRequest request = read_response_request(json::parse(body), {}, body);
  ASSERT_TRUE(request.completion.grammar);
  EXPECT_EQ(request.completion.grammar->text, schema);
}

TEST(ResponseRequest, WhatRefersToEarlierResponsesIsRefused) {
  for (const char* field : {"previous_response_id", "conversation", "prompt"}) {
    try {
      respond({{field, "x"}});
      ADD_FAILURE() << field;
    } catch (const Refusal& refusal) {
      EXPECT_EQ(refusal.status(), 400);
      EXPECT_EQ(refusal.parameter(), field);
    }
  }
}

}  // namespace
}  // namespace salient::serve
