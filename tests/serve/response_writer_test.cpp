#include "serve/response_writer.h"

#include <gtest/gtest.h>

#include <sstream>

namespace salient::serve {
namespace {

using nlohmann::json;

/// The data of events, whose names must be their types.
std::vector<json> read(const std::string& events) {
  std::vector<json> result;
  std::istringstream lines(events);
  for (std::string name, data, empty; std::getline(lines, name);) {
    std::getline(lines, data);
    std::getline(lines, empty);
    EXPECT_EQ(empty, "");
    result.push_back(json::parse(data.substr(data.find('{'))));
    EXPECT_EQ(name, "event: " + result.back()["type"].get<std::string>());
  }
  return result;
}

std::vector<std::string> types(const std::vector<json>& events) {
  std::vector<std::string> result;
  for (const json& event : events) result.push_back(event["type"]);
  return result;
}

TEST(ResponseWriter, TellsOfThoughtTextAndCalls) {
  ResponseWriter writer(json{{"id", "resp_1"}});
  std::string text = writer.begin();
  text += writer.grow({.thought = "Hm", .content = {}, .calls = {}});
  text += writer.grow({.thought = "m.", .content = "I c", .calls = {}});
  text += writer.grow({.thought = {}, .content = "all.", .calls = {{0, "call_a", "f", "{\"x\""}}});
  text += writer.grow({.thought = {}, .content = {}, .calls = {{0, "", "", ": 1}"}, {1, "call_b", "g", "{}"}}});
  text += writer.finish("", {{"total_tokens", 7}});
  const std::vector<json> events = read(text);
  const std::vector<std::string> expected = {
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.reasoning_text.delta",
      "response.reasoning_text.delta",
      "response.reasoning_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.output_item.added",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.done",
      "response.output_item.done",
      "response.output_item.added",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.done",
      "response.output_item.done",
      "response.completed",
  };
  EXPECT_EQ(types(events), expected);
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
  EXPECT_EQ(events[6]["text"], "Hmm.");
  EXPECT_EQ(events[13]["text"], "I call.");
  EXPECT_EQ(events[19]["arguments"], "{\"x\": 1}");

  const json& response = writer.response();
  EXPECT_EQ(events.back()["response"], response);
  EXPECT_EQ(response["status"], "completed");
  EXPECT_EQ(response["usage"]["total_tokens"], 7);
  const json& output = response["output"];
  ASSERT_EQ(output.size(), 4u);
  EXPECT_EQ(output[0]["type"], "reasoning");
  EXPECT_EQ(output[0]["content"], json::array({{{"type", "reasoning_text"}, {"text", "Hmm."}}}));
  EXPECT_EQ(output[1]["content"][0]["text"], "I call.");
  EXPECT_EQ(output[2]["call_id"], "call_a");
  EXPECT_EQ(output[3]["name"], "g");
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(output[i]["status"], "completed") << i;
}

TEST(ResponseWriter, WhatWasCutOffIsIncomplete) {
  ResponseWriter writer(json{{"id", "resp_1"}});
  writer.begin();
  writer.grow({.thought = {}, .content = "half a ", .calls = {}});
  const std::vector<json> events = read(writer.finish("max_output_tokens", {}));
  EXPECT_EQ(events.back()["type"], "response.incomplete");
  EXPECT_EQ(writer.response()["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(writer.response()["output"][0]["status"], "incomplete");
}

TEST(ResponseWriter, AReplyOfNothingIsAnEmptyMessage) {
  ResponseWriter writer(json{{"id", "resp_1"}});
  writer.begin();
  writer.finish("", {});
  ASSERT_EQ(writer.response()["output"].size(), 1u);
  EXPECT_EQ(writer.response()["output"][0]["content"][0]["text"], "");
}

TEST(ResponseWriter, AFailureEndsTheStream) {
  ResponseWriter writer(json{{"id", "resp_1"}});
  writer.begin();
  writer.grow({.thought = {}, .content = "half a ", .calls = {}});
  const std::vector<json> events = read(writer.fail(Refusal(503, "no memory", {}, "out_of_memory")));
  EXPECT_EQ(events.back()["type"], "response.failed");
  EXPECT_EQ(events.back()["response"]["error"], json({{"code", "out_of_memory"}, {"message", "no memory"}}));
}

}  // namespace
}  // namespace salient::serve
