"""/v1/responses, asked by the unmodified openai client. What it says is compared with what a chat says."""

import json

import openai

import program
from served import Server
from structured_test import SCHEMA, TOOLS, write_model

GREEDY = {"temperature": 0, "max_output_tokens": 12}
WILD = {"temperature": 100, "top_p": 1, "max_output_tokens": 4000, "extra_body": {"top_k": 0, "seed": 5}}
FLAT_TOOLS = [{"type": "function", "strict": True, **tool["function"]} for tool in TOOLS]
THINKING = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: <think>"


class ResponsesTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        thinking = write_model(cls.folder / "thinking")
        (thinking / "tokenizer_config.json").write_text(json.dumps({"chat_template": THINKING}))
        cls.server = Server(write_model(cls.folder / "plain"), write_model(cls.folder / "hermes", "<tool_call>"),
                            thinking, "--kv-memory", 0.1, "--threads", 2, "--models-in-memory", 8)
        cls.addClassCleanup(cls.server.close)
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)

    def respond(self, **changes):
        return self.client.responses.create(**{"model": "plain", "input": "Say something.", **GREEDY, **changes})

    def chat(self, messages, **changes):
        return self.client.chat.completions.create(
            **{"model": "plain", "messages": messages, "temperature": 0, "max_tokens": 12, **changes})

    def stream(self, **changes):
        """The events of a response, of which every one is numbered."""
        events = list(self.respond(stream=True, **changes))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual([event.type for event in events[:2]], ["response.created", "response.in_progress"])
        self.assertEqual(events[0].response.status, "in_progress")
        self.assertEqual(events[0].response.output, [])
        return events

    def assert_same_response(self, one, other):
        """Equal but for what is drawn or measured anew each time."""
        def strip(value):
            if isinstance(value, list):
                return [strip(item) for item in value]
            if not isinstance(value, dict):
                return value
            return {name: strip(item) for name, item in value.items()
                    if name not in ("id", "call_id", "created_at", "input_tokens_details")}
        self.assertEqual(strip(one.model_dump()), strip(other.model_dump()))


class TextTest(ResponsesTest):
    def test_a_text(self):
        response = self.respond()
        chat = self.chat([{"role": "user", "content": "Say something."}])
        self.assertEqual(response.object, "response")
        self.assertRegex(response.id, "^resp_")
        self.assertEqual(response.model, "plain")
        self.assertEqual(response.output_text, chat.choices[0].message.content)
        self.assertEqual([item.type for item in response.output], ["message"])
        self.assertEqual(response.output[0].role, "assistant")
        self.assertEqual(response.status, "incomplete")
        self.assertEqual(response.output[0].status, "incomplete")
        self.assertEqual(response.incomplete_details.reason, "max_output_tokens")
        self.assertEqual(response.usage.input_tokens, chat.usage.prompt_tokens)
        self.assertEqual(response.usage.output_tokens, 12)
        self.assertEqual(response.usage.output_tokens_details.reasoning_tokens, 0)
        self.assertEqual(response.usage.total_tokens, response.usage.input_tokens + 12)
        self.assertEqual(response.temperature, 0)
        self.assertEqual(response.max_output_tokens, 12)
        self.assertFalse(self.respond(store=True).store)

    def test_items_are_messages_of_a_chat(self):
        response = self.respond(instructions="Be kind.", input=[
            {"role": "user", "content": "One"},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "Two", "annotations": []}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Th"},
                                                            {"type": "input_text", "text": "ree"}]}])
        chat = self.chat([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "One"},
                          {"role": "assistant", "content": "Two"}, {"role": "user", "content": "Three"}])
        self.assertEqual(response.output_text, chat.choices[0].message.content)
        self.assertEqual(response.usage.input_tokens, chat.usage.prompt_tokens)
        self.assertEqual(response.instructions, "Be kind.")

    def test_an_answer_goes_back_as_it_came(self):
        first = self.respond()
        second = self.respond(input=[{"role": "user", "content": "Say something."},
                                     *(item.model_dump() for item in first.output), {"role": "user", "content": "Go on."}])
        chat = self.chat([{"role": "user", "content": "Say something."},
                          {"role": "assistant", "content": first.output_text}, {"role": "user", "content": "Go on."}])
        self.assertEqual(second.output_text, chat.choices[0].message.content)

    def test_a_stream_tells_how_the_response_came_to_be(self):
        events = self.stream()
        kinds = [event.type for event in events]
        first_delta = kinds.index("response.output_text.delta")
        self.assertEqual(kinds[2:first_delta], ["response.output_item.added", "response.content_part.added"])
        self.assertEqual(kinds[-4:], ["response.output_text.done", "response.content_part.done",
                                      "response.output_item.done", "response.incomplete"])
        self.assertEqual(set(kinds[first_delta:-4]), {"response.output_text.delta"})
        text = "".join(event.delta for event in events[first_delta:-4])
        self.assertEqual(events[-4].text, text)
        self.assertEqual(events[-3].part.text, text)
        self.assertEqual(events[-2].item.content[0].text, text)
        self.assertEqual({event.item_id for event in events[first_delta:-4]}, {events[-2].item.id})
        self.assert_same_response(events[-1].response, self.respond())

    def test_each_event_has_its_name(self):
        body = {"input": "Say something.", "stream": True, **GREEDY}
        status, headers, text = self.server.request("POST", "/v1/responses", body)
        self.assertEqual((status, headers["Content-Type"]), (200, "text/event-stream"))
        events = text.split("\n\n")
        self.assertEqual(events.pop(), "")
        for event in events:
            name, data = event.split("\n")
            self.assertEqual(json.loads(data.removeprefix("data: "))["type"], name.removeprefix("event: "))

    def test_the_clients_own_stream_helper(self):
        with self.client.responses.stream(model="plain", input="Say something.", **GREEDY) as stream:
            deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        self.assertEqual(deltas, self.respond().output_text)

    def test_a_schema_is_followed(self):
        text = {"format": {"type": "json_schema", "name": "mood", "schema": SCHEMA, "strict": True}}
        response = self.respond(text=text, **WILD)
        self.assertEqual(response.status, "completed")
        self.assertEqual(list(json.loads(response.output_text)), ["zeal", "age", "tags"])
        self.assertEqual(response.text.format.type, "json_schema")
        self.assertEqual("".join(event.delta for event in self.stream(text=text, **WILD)
                                 if event.type == "response.output_text.delta"), response.output_text)

    def test_thoughts_are_an_item_of_their_own(self):
        response = self.respond(model="thinking")
        self.assertEqual([item.type for item in response.output], ["reasoning", "message"])
        thought = self.chat([{"role": "user", "content": "Say something."}],
                            model="thinking").choices[0].message.reasoning_content
        self.assertTrue(thought)
        self.assertEqual(response.output[0].content[0].text, thought)
        self.assertEqual(response.output_text, "")
        self.assertEqual(response.usage.output_tokens_details.reasoning_tokens, len(thought))
        events = self.stream(model="thinking")
        self.assertEqual("".join(event.delta for event in events if event.type == "response.reasoning_text.delta"), thought)
        self.assert_same_response(events[-1].response, response)


class CallTest(ResponsesTest):
    def call(self, **changes):
        return self.respond(tools=FLAT_TOOLS, tool_choice="required", **WILD, **changes)

    def test_calls_are_items(self):
        for model in ("plain", "hermes"):
            response = self.call(model=model)
            self.assertEqual(response.status, "completed")
            self.assertEqual(response.output_text, "")
            self.assertTrue(response.output)
            self.assertEqual(len({item.call_id for item in response.output}), len(response.output))
            for item in response.output:
                self.assertEqual((item.type, item.status), ("function_call", "completed"))
                expected = ["zeal", "age", "tags"] if item.name == "set_mood" else []
                self.assertEqual(list(json.loads(item.arguments)), expected)

    def test_they_are_those_of_a_chat(self):
        chat = self.chat([{"role": "user", "content": "Say something."}], tools=TOOLS, tool_choice="required",
                         temperature=100, max_tokens=4000, seed=5, top_p=1, extra_body={"top_k": 0})
        # The tools of the two differ by "strict", which the prompt shows.
        tools = [{name: value for name, value in tool.items() if name != "strict"} for tool in FLAT_TOOLS]
        response = self.respond(tools=tools, tool_choice="required", **WILD)
        self.assertEqual(response.usage.input_tokens, chat.usage.prompt_tokens)
        self.assertEqual([(item.name, item.arguments) for item in response.output],
                         [(call.function.name, call.function.arguments) for call in chat.choices[0].message.tool_calls])

    def test_one_that_is_named(self):
        response = self.respond(tools=FLAT_TOOLS, tool_choice={"type": "function", "name": "stop"}, **WILD)
        self.assertEqual([(item.name, json.loads(item.arguments)) for item in response.output], [("stop", {})])

    def test_a_stream_has_the_same_calls(self):
        events = self.stream(tools=FLAT_TOOLS, tool_choice="required", **WILD)
        whole = self.call()
        arguments = {}
        for event in events:
            if event.type == "response.output_item.added":
                self.assertEqual((event.item.type, event.item.arguments), ("function_call", ""))
                self.assertEqual(event.output_index, len(arguments))
                arguments[event.item.id] = ""
            if event.type == "response.function_call_arguments.delta":
                arguments[event.item_id] += event.delta
            if event.type == "response.function_call_arguments.done":
                self.assertEqual(event.arguments, arguments[event.item_id])
        self.assertEqual(list(arguments.values()), [item.arguments for item in whole.output])
        self.assertEqual(events[-1].type, "response.completed")
        self.assert_same_response(events[-1].response, whole)

    def test_calls_and_what_they_gave_go_back(self):
        calls = self.call(model="hermes").output
        response = self.respond(model="hermes", tools=FLAT_TOOLS, input=[
            {"role": "user", "content": "Say something."}, {"role": "assistant", "content": "I do."},
            *(call.model_dump() for call in calls),
            *({"type": "function_call_output", "call_id": call.call_id, "output": "done"} for call in calls)])
        tools = [{"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
                 for tool in FLAT_TOOLS]
        chat = self.chat([
            {"role": "user", "content": "Say something."},
            {"role": "assistant", "content": "I do.", "tool_calls": [
                {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in calls]},
            *({"role": "tool", "tool_call_id": call.call_id, "content": "done"} for call in calls)],
            model="hermes", tools=tools)
        self.assertEqual(response.usage.input_tokens, chat.usage.prompt_tokens)


class RefusalTest(ResponsesTest):
    def test_what_is_asked_wrongly_is_named(self):
        for changes, words in [
            ({"previous_response_id": "resp_1"}, "previous_response_id is \"resp_1\", expected none: no response is kept"),
            ({"conversation": "conv_1"}, "conversation"),
            ({"background": True}, "background"),
            ({"truncation": "auto"}, "truncation"),
            ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
            ({"include": ["file_search_call.results"]}, "include"),
            ({"top_logprobs": 3}, "top_logprobs"),
            ({"max_output_tokens": 0}, "max_output_tokens"),
            ({"input": []}, "input is array of 0, expected at least one message"),
            ({"input": [{"role": "king", "content": "a"}]}, "input[0].role is \"king\""),
            ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content"),
            ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type is \"item_reference\""),
            ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id is missing"),
            ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output is missing"),
            ({"tools": [{"type": "web_search"}]}, "tools[0].type is \"web_search\""),
            ({"tools": FLAT_TOOLS, "tool_choice": {"type": "function", "name": "nobody"}}, "tool_choice"),
            ({"tools": FLAT_TOOLS, "text": {"format": {"type": "json_object"}}}, "tools"),
            ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "foo"}}}}, "cannot be compiled"),
            ({"extra_body": {"temprature": 1}}, "temprature is not known"),
            ({"input": "x" * 20000}, "20"),
        ]:
            with self.assertRaises(openai.BadRequestError) as raised:
                self.respond(**changes)
            self.assertIn(words, raised.exception.message, changes)
        with self.assertRaises(openai.NotFoundError):
            self.respond(model="huge")
        self.assertEqual(self.server.refused("/v1/responses", {"model": "plain"})[1]["param"], "input")


if __name__ == "__main__":
    program.main()
