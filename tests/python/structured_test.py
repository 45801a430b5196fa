"""Replies that follow a schema, and tool calls, asked for by the unmodified openai client. The model is random and close
to indifferent, so that what it writes is valid only because it has to be."""

import json

import openai

import program
import tiny_model
from served import Server

MESSAGES = [{"role": "user", "content": "Say something."}]
WILD = {"temperature": 100, "max_tokens": 400, "extra_body": {"top_k": 0}, "top_p": 1}
SCHEMA = {
    "type": "object",
    "properties": {"zeal": {"enum": ["low", "high"]}, "age": {"type": "integer", "minimum": 0, "maximum": 99},
                   "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 2}},
    "required": ["zeal", "age", "tags"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "maxLength": 3}},
}
TOOLS = [
    {"type": "function", "function": {"name": "set_mood", "description": "Sets it.", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {},
                                                                     "additionalProperties": False}}},
]
TOOL_TEMPLATE = ("{% if tools %}{{ tools | tojson }} MARK{% endif %}{% for message in messages %}{{ message.role }}: "
                 "{{ message.content }}\n{% endfor %}assistant:")


def write_model(folder, mark=None, special=()):
    """A model whose chat template knows of tools and writes them behind `mark`; without, it knows of none."""
    model = tiny_model.write_model(folder, max_position_embeddings=16384, eos_token_id=256,
                                   vocab_size=257 + len(special))
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    for token in special:
        added = dict(tokenizer["added_tokens"][0], id=256 + len(tokenizer["added_tokens"]), content=token)
        tokenizer["added_tokens"].append(added)
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    if mark:
        template = TOOL_TEMPLATE.replace("MARK", mark)
        (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return model


class StructuredTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        models = [
            write_model(cls.folder / "plain"),
            write_model(cls.folder / "hermes", "<tool_call>"),
            write_model(cls.folder / "mistral", "[TOOL_CALLS]", ["[TOOL_CALLS]"]),
            write_model(cls.folder / "llama", "<|python_tag|>", ["<|python_tag|>"]),
            write_model(cls.folder / "phi", "<|tool_call|>", ["<|tool_call|>", "<|/tool_call|>"]),
        ]
        cls.server = Server(*models, "--kv-memory", 0.1, "--threads", 2, "--models-in-memory", 8)
        cls.addClassCleanup(cls.server.close)
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)

    def chat(self, **changes):
        return self.client.chat.completions.create(**{"model": "plain", "messages": MESSAGES, **WILD, **changes})

    def check_mood(self, mood):
        self.assertEqual(list(mood), ["zeal", "age", "tags"], "in the order of the schema")
        self.assertIn(mood["zeal"], ["low", "high"])
        self.assertIn(mood["age"], range(100))
        self.assertLessEqual(len(mood["tags"]), 2)
        for tag in mood["tags"]:
            self.assertLessEqual(len(tag), 3)


class FormatTest(StructuredTest):
    def test_a_reply_follows_its_schema(self):
        response_format = {"type": "json_schema", "json_schema": {"name": "mood", "schema": SCHEMA, "strict": True}}
        texts = []
        for choice in self.chat(response_format=response_format, n=8, seed=1).choices:
            self.assertEqual(choice.finish_reason, "stop")
            self.check_mood(json.loads(choice.message.content))
            texts.append(choice.message.content)
        self.assertGreater(len(set(texts)), 4)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in
                           self.chat(response_format=response_format, seed=1, stream=True) if chunk.choices)
        self.assertEqual(streamed, texts[0])

    def test_other_ways_to_ask(self):
        text = self.client.completions.create(model="plain", prompt="x", **{**WILD, "extra_body": {
            "guided_regex": "[0-9]{3}-[a-f]+x", "top_k": 0}}).choices[0].text
        self.assertRegex(text, r"\A[0-9]{3}-[a-f]+x\Z")
        for body in ({"guided_json": SCHEMA}, {"guided_json": json.dumps(SCHEMA)}, {"json_schema": SCHEMA}):
            self.check_mood(json.loads(self.chat(extra_body=body).choices[0].message.content))
        self.assertIn(self.chat(extra_body={"guided_choice": ["yes", "no"]}).choices[0].message.content, ["yes", "no"])
        begin = self.chat(response_format={"type": "json_object"}, max_tokens=1).choices[0].message.content
        self.assertEqual(begin, "{")

    def test_others_beside_it_are_free(self):
        free = {"model": "plain", "prompt": "Once", "seed": 3, "max_tokens": 30}
        alone = self.client.completions.create(**free).choices[0].text
        self.chat(response_format={"type": "json_schema", "json_schema": {"name": "mood", "schema": SCHEMA}})
        self.assertEqual(self.client.completions.create(**free).choices[0].text, alone)

    def test_a_schema_that_cannot_be_compiled_is_refused(self):
        for schema, words in [({"type": "foo"}, "foo"), ({"$ref": "#/nowhere"}, "cannot be compiled")]:
            with self.assertRaises(openai.BadRequestError) as raised:
                self.chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
            self.assertIn("the grammar (json_schema) cannot be compiled", raised.exception.message)
            self.assertIn(words, raised.exception.message)
        with self.assertRaises(openai.BadRequestError):
            self.chat(response_format={"type": "xml"})
        for body in ({"guided_json": "[" * 100000}, {"guided_regex": "(" * 100000}, {"json_schema": 7},
                     {"guided_regex": "a", "guided_json": "{}"}):
            with self.assertRaises(openai.BadRequestError) as raised:
                self.chat(extra_body=body)
            self.assertLess(len(raised.exception.message), 1000)

    def test_the_command_line_has_it_too(self):
        run = ("generate", self.folder / "plain", "--prompt", "x", "--temperature", 100, "--top-k", 0, "--top-p", 1)
        self.check_mood(json.loads(self.run_well(*run, "--json-schema", json.dumps(SCHEMA)).stdout))
        self.assertRegex(self.run_well(*run, "--regex", "[a-c]{4}").stdout, r"\A[a-c]{4}\n?\Z")
        self.expect_sentence(program.run(*run, "--regex", "("), "the grammar (regex) cannot be compiled")


class ToolTest(StructuredTest):
    def check_call(self, call):
        self.assertEqual(call.type, "function")
        arguments = json.loads(call.function.arguments)
        if call.function.name == "set_mood":
            self.check_mood(arguments)
        else:
            self.assertEqual((call.function.name, arguments), ("stop", {}))

    def test_what_must_be_called_is_called_in_every_style(self):
        for model in ("plain", "hermes", "mistral", "llama", "phi"):
            with self.subTest(model):
                names = set()
                for choice in self.chat(model=model, tools=TOOLS, tool_choice="required", n=6, seed=5,
                                        max_tokens=4000).choices:
                    self.assertEqual(choice.finish_reason, "tool_calls")
                    self.assertIsNone(choice.message.content)
                    self.assertTrue(choice.message.tool_calls)
                    for call in choice.message.tool_calls:
                        self.check_call(call)
                        names.add(call.function.name)
                    ids = [call.id for call in choice.message.tool_calls]
                    self.assertEqual(len(set(ids)), len(ids))
                self.assertEqual(names, {"set_mood", "stop"})

    def test_one_that_is_named_is_called_once(self):
        for name in ("set_mood", "stop"):
            choice = {"type": "function", "function": {"name": name}}
            calls = self.chat(tools=TOOLS, tool_choice=choice).choices[0].message.tool_calls
            self.assertEqual([call.function.name for call in calls], [name])
            self.check_call(calls[0])

    def test_a_stream_has_the_same_calls(self):
        for model in ("hermes", "mistral"):
            ask = {"model": model, "tools": TOOLS, "tool_choice": "required", "seed": 2, "max_tokens": 4000}
            whole = self.chat(**ask).choices[0]
            calls, finish = {}, None
            for chunk in self.chat(stream=True, **ask):
                for choice in chunk.choices:
                    finish = choice.finish_reason or finish
                    for delta in choice.delta.tool_calls or []:
                        name, arguments = calls.get(delta.index, ("", ""))
                        self.assertEqual(bool(delta.id), delta.index not in calls)
                        calls[delta.index] = (name + (delta.function.name or ""), arguments + delta.function.arguments)
            self.assertEqual(finish, "tool_calls")
            self.assertEqual([calls[i] for i in range(len(calls))],
                             [(call.function.name, call.function.arguments) for call in whole.message.tool_calls])

    def test_calls_and_results_go_back_into_the_prompt(self):
        for max_tokens in (4000, 60):
            self.check_the_prompt_after(self.chat(tools=TOOLS, tool_choice="required", seed=4, max_tokens=max_tokens))

    def check_the_prompt_after(self, answer):
        call = answer.choices[0].message
        messages = [*MESSAGES, call.model_dump(exclude_none=True),
                    *({"role": "tool", "tool_call_id": one.id, "content": "done"} for one in call.tool_calls)]
        for choice in ("auto", "none"):
            reply = self.chat(messages=messages, tools=TOOLS, tool_choice=choice, max_tokens=5)
            self.assertGreater(reply.usage.prompt_tokens, 50)

    def test_tools_that_are_wrong_are_refused(self):
        for changes in ({"tools": [{"type": "function"}]}, {"tools": TOOLS, "tool_choice": "sometimes"},
                        {"tools": TOOLS, "response_format": {"type": "json_object"}}, {"tool_choice": "required"},
                        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "foo"}}}],
                         "tool_choice": "required"}):
            with self.assertRaises(openai.BadRequestError):
                self.chat(**changes)


if __name__ == "__main__":
    program.main()
