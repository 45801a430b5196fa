"""The server, asked by the unmodified openai client and by others who are less polite."""

import json
import threading
import time
import unittest

import openai

import program
import tiny_model
from served import Server

MESSAGES = [{"role": "user", "content": "Say something."}]
GREEDY = {"temperature": 0, "max_tokens": 12}


class ServerTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "tiny", max_position_embeddings=16384)
        cls.server = Server(cls.model, "--parallel", 8, "--kv-memory", 0.1, "--threads", 2)
        cls.addClassCleanup(cls.server.close)
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)

    def chat(self, **changes):
        return self.client.chat.completions.create(**{"model": "tiny", "messages": MESSAGES, **GREEDY, **changes})

    def complete(self, **changes):
        return self.client.completions.create(**{"model": "tiny", "prompt": "Once upon", **GREEDY, **changes})

    def generated(self, prompt, tokens=12):
        """What the command generate writes."""
        result = self.run_well("generate", self.model, "--prompt", prompt, "--temperature", "0", "--max-tokens", tokens,
                               "--json")
        return json.loads(result.stdout)["text"]


class ClientTest(ServerTest):
    def test_models_are_listed(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["tiny"])
        self.assertEqual(self.client.models.retrieve("tiny").id, "tiny")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("huge")

    def test_chat(self):
        reply = self.chat()
        self.assertEqual(reply.object, "chat.completion")
        self.assertEqual(reply.model, "tiny")
        choice = reply.choices[0]
        self.assertEqual(choice.finish_reason, "length")
        self.assertEqual(choice.message.role, "assistant")
        self.assertEqual(choice.message.content, self.generated("user: Say something.\nassistant:"))
        self.assertEqual(reply.usage.completion_tokens, 12)
        self.assertEqual(reply.usage.prompt_tokens, len("user: Say something.\nassistant:"))
        self.assertEqual(reply.timings["predicted_n"], 12)
        self.assertEqual(reply.timings["prompt_n"] + reply.timings["cache_n"], reply.usage.prompt_tokens)

    def test_a_stream_says_the_same(self):
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, self.chat().choices[0].message.content)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual(chunks[-2].choices[0].finish_reason, "length")
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, 12)
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)

    def test_events_are_lines_that_end_with_done(self):
        body = {"messages": MESSAGES, "stream": True, **GREEDY}
        status, headers, text = self.server.request("POST", "/v1/chat/completions", body)
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "text/event-stream")
        events = text.split("\n\n")
        self.assertEqual(events[-2:], ["data: [DONE]", ""])
        for line in events[:-2]:
            self.assertNotIn("\n", line)
            json.loads(line.removeprefix("data: "))

    def test_several_choices_differ_and_a_seed_repeats_them(self):
        def texts():
            reply = self.chat(n=3, seed=7, temperature=1.5, max_tokens=20)
            self.assertEqual([choice.index for choice in reply.choices], [0, 1, 2])
            self.assertEqual(reply.usage.completion_tokens, 60)
            return [choice.message.content for choice in reply.choices]

        first = texts()
        self.assertEqual(len(set(first)), 3)
        self.assertEqual(texts(), first)

    def test_choices_of_a_stream_are_told_apart(self):
        texts = ["", ""]
        for chunk in self.chat(n=2, seed=7, temperature=1.5, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        whole = self.chat(n=2, seed=7, temperature=1.5)
        self.assertEqual(texts, [choice.message.content for choice in whole.choices])

    def test_a_stop_string_ends_the_reply_before_it(self):
        whole = self.complete().choices[0].text
        stop = whole[4:7]
        stopped = self.complete(stop=[stop, "never said"]).choices[0]
        self.assertEqual(stopped.text, whole[:whole.index(stop)])
        self.assertEqual(stopped.finish_reason, "stop")

    def test_penalties_and_biases_are_those_of_the_command(self):
        result = self.run_well("generate", self.model, "--prompt", "Once upon", "--temperature", "0", "--max-tokens", 40,
                               "--presence-penalty", "1.5", "--frequency-penalty", "0.5", "--repetition-penalty", "1.2",
                               "--json")
        expected = json.loads(result.stdout)["text"]
        penalized = self.complete(presence_penalty=1.5, frequency_penalty=0.5, max_tokens=40,
                                  extra_body={"repetition_penalty": 1.2}).choices[0].text
        self.assertEqual(penalized, expected)
        self.assertNotEqual(penalized, self.complete(max_tokens=40).choices[0].text)
        only = self.complete(logit_bias={ord("z"): 100}, extra_body={"min_p": 0.9}, temperature=1).choices[0].text
        self.assertEqual(only, "z" * 12)

    def test_chat_logprobs(self):
        content = self.chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
        self.assertEqual(len(content), 12)
        for token in content:
            self.assertLessEqual(token.logprob, 0)
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertEqual(token.top_logprobs[0].logprob, token.logprob, "greedy: the most likely one")
        self.assertEqual("".join(token.token for token in content), self.chat().choices[0].message.content)
        streamed = [token for chunk in self.chat(logprobs=True, top_logprobs=3, stream=True)
                    for choice in chunk.choices if choice.logprobs for token in choice.logprobs.content]
        self.assertEqual(streamed, content)

    def test_echo_scores_the_prompt(self):
        prompt = "Once upon a time"
        alone = self.complete(prompt=prompt, echo=True, logprobs=2, max_tokens=0).choices[0]
        self.assertEqual(alone.text, prompt)
        self.assertEqual("".join(alone.logprobs.tokens), prompt)
        self.assertIsNone(alone.logprobs.token_logprobs[0])
        self.assertEqual(alone.logprobs.text_offset, list(range(len(prompt))))
        # The last token's logprob is the one of a reply that happens to be that token.
        before = self.complete(prompt=prompt[:-1], logprobs=20, max_tokens=1).choices[0].logprobs
        best = before.tokens[0]
        scored = self.complete(prompt=prompt[:-1] + best, echo=True, logprobs=1, max_tokens=0).choices[0].logprobs
        self.assertAlmostEqual(scored.token_logprobs[-1], before.token_logprobs[0], places=6)
        longer = self.complete(prompt=prompt, echo=True, logprobs=2, max_tokens=5).choices[0]
        self.assertEqual(longer.text[:len(prompt)], prompt)
        self.assertEqual(longer.logprobs.token_logprobs[:len(prompt)], alone.logprobs.token_logprobs)
        self.assertEqual(len(longer.logprobs.tokens), len(prompt) + 5)

    def test_prompts_may_be_lists_and_token_ids(self):
        one = self.complete().choices[0].text
        ids = list(b"Once upon")
        several = self.complete(prompt=["Once upon", "Another"]).choices
        self.assertEqual([choice.index for choice in several], [0, 1])
        self.assertEqual(several[0].text, one)
        self.assertEqual(self.complete(prompt=ids).choices[0].text, one)
        self.assertEqual(self.complete(prompt=[ids, ids]).choices[1].text, one)

    def test_what_a_prompt_shares_with_an_earlier_one_is_not_computed_again(self):
        prompt = "~ begins no other test's prompt. " * 20
        first = self.complete(prompt=prompt)
        self.assertEqual(first.usage.prompt_tokens_details.cached_tokens, 0)
        second = self.complete(prompt=prompt + first.choices[0].text + " And on.")
        self.assertGreaterEqual(second.usage.prompt_tokens_details.cached_tokens, len(prompt))
        again = self.complete(prompt=prompt)
        self.assertEqual(again.choices[0].text, first.choices[0].text)
        self.assertEqual(again.usage.prompt_tokens_details.cached_tokens, len(prompt) - 1)

    def test_many_at_once_say_what_each_says_alone(self):
        prompts = [f"Number {i} " * (1 + 7 * i) for i in range(12)]
        alone = [self.complete(prompt=prompt, max_tokens=20).choices[0].text for prompt in prompts]
        together = [None] * len(prompts)

        def ask(i):
            together[i] = self.complete(prompt=prompts[i], max_tokens=20).choices[0].text

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(prompts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)

    def test_progress_of_a_prompt(self):
        body = {"model": "", "messages": [{"role": "user", "content": "word " * 1000}], "stream": True,
                "return_progress": True, **GREEDY}
        _, _, text = self.server.request("POST", "/v1/chat/completions", body)
        events = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
        progress = [event["prompt_progress"] for event in events if "prompt_progress" in event]
        self.assertTrue(progress)
        self.assertEqual(progress, sorted(progress, key=lambda one: one["processed"]))
        self.assertLess(progress[0]["processed"], progress[0]["total"])


class RefusalTest(ServerTest):
    def refusal(self, body, path="/v1/chat/completions"):
        status, error = self.server.refused(path, body)
        return f"{status} {error['message']}"

    def test_the_client_raises_what_openai_would(self):
        with self.assertRaises(openai.NotFoundError) as raised:
            self.chat(model="huge")
        self.assertIn("tiny", raised.exception.message)
        self.assertEqual(raised.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.chat(temperature=-1)
        self.assertEqual(raised.exception.param, "temperature")

    def test_a_prompt_that_is_too_long_is_refused_with_the_numbers(self):
        status, error = self.server.refused("/v1/completions", {"prompt": "x" * 16384, "max_tokens": 1})
        self.assertEqual(status, 400)
        for number in ("16384", "16385"):
            self.assertIn(number, error["message"])
        self.assertIn("400", self.refusal({"messages": MESSAGES, "max_tokens": 20000}))

    def test_what_is_asked_wrongly_is_named(self):
        for body, words in [
            ({}, "messages is missing"),
            ({"messages": []}, "messages"),
            ({"messages": "hello"}, "messages"),
            ({"messages": [{"role": "king", "content": "a"}]}, "messages[0].role is \"king\""),
            ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
            ({"messages": MESSAGES, "max_tokens": "many"}, "max_tokens is \"many\""),
            ({"messages": MESSAGES, "n": 1000}, "n is 1000, expected a whole number from 1 to 32"),
            ({"messages": MESSAGES, "top_p": 0}, "top_p is 0"),
            ({"messages": MESSAGES, "top_p": 1e400}, "body is not JSON"),
            ({"messages": MESSAGES, "seed": 1.5}, "seed is 1.5"),
            ({"messages": MESSAGES, "stop": [""]}, "stop"),
            ({"messages": MESSAGES, "logit_bias": {"300": 1}}, "token 300 of the logit bias is outside"),
            ({"messages": MESSAGES, "temprature": 1}, "temprature is not known"),
            ({"messages": MESSAGES, "stream_options": {"include_usage": True}}, "stream_options"),
            ({"messages": MESSAGES, "top_logprobs": 2}, "top_logprobs"),
        ]:
            self.assertIn(words, self.refusal(body), body)
            self.assertIn("400 ", self.refusal(body))
        for body, words in [({}, "prompt is missing"), ({"prompt": []}, "prompt"), ({"prompt": [-1]}, "prompt"),
                            ({"prompt": [300]}, "vocabulary"), ({"prompt": ""}, "empty"),
                            ({"prompt": "a", "suffix": "b"}, "suffix"), ({"prompt": "a", "logprobs": 99}, "logprobs")]:
            self.assertIn(words, self.refusal(body, "/v1/completions"), body)

    def test_bodies_that_are_not_json(self):
        for body in ("", "{", "[]", "nonsense", b"\xff\xfe", '{"messages": ' + "[" * 10000):
            self.assertIn("400 ", self.refusal(body), body[:20])
        status, _ = self.server.refused("/v1/chat/completions", json.dumps({"messages": MESSAGES, "user": "\ud800"}))
        self.assertEqual(status, 400)

    def test_wrong_paths_and_methods(self):
        self.assertEqual(self.server.refused("/v1/nothing", {})[0], 404)
        self.assertEqual(self.server.refused("/v1/models", {})[0], 405)
        self.assertEqual(self.server.request("GET", "/v1/chat/completions")[0], 405)

    def test_bodies_and_heads_have_limits(self):
        self.assertEqual(self.server.refused("/v1/completions", "x" * (9 << 20))[0], 413)
        status, _, _ = self.server.request("GET", "/health", headers={"X-Long": "x" * 20000})
        self.assertEqual(status, 431)

    def test_what_is_not_http_harms_nobody(self):
        for data in (b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n",
                     b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                     b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
            with self.server.raw(data) as connection:
                answer = connection.recv(1000)
                self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1.1 400"), (data, answer))
        self.assertEqual(self.server.ask("/health")["status"], "ok")

    def test_pages_of_strangers_are_kept_out(self):
        def status(path="/v1/models", **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            return self.server.request("GET", path, headers=headers)[0]

        self.assertEqual(status(Host="evil.example"), 403)
        self.assertEqual(status(Host=f"localhost:{self.server.port}"), 200)
        self.assertEqual(status(Host="[::1]:80"), 200)
        self.assertEqual(status(Origin="http://evil.example"), 403)
        self.assertEqual(status(Origin="null"), 403)
        own = f"127.0.0.1:{self.server.port}"
        self.assertEqual(status(Host=own, Origin="http://" + own), 200)
        _, headers, _ = self.server.request("GET", "/health")
        self.assertNotIn("Access-Control-Allow-Origin", headers)


class ReaderTest(ServerTest):
    def start_stream(self, prompt="Once", tokens=15000):
        body = json.dumps({"prompt": prompt, "max_tokens": tokens, "stream": True})
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        return self.server.raw((head + body).encode())

    def test_a_reader_who_leaves_ends_the_reply(self):
        connection = self.start_stream()
        self.assertIn(b"data: ", connection.recv(4096) + connection.recv(4096))
        connection.close()
        self.server.wait_until_idle()
        self.assertLess(self.server.metric("salient_generated_tokens_total"), 15000)

    def test_a_reader_who_leaves_while_the_prompt_is_read(self):
        before = self.server.metric("salient_generated_tokens_total")
        connection = self.start_stream(prompt="leave " * 2500, tokens=1000)
        while self.server.metric("salient_requests_running") == 0:
            time.sleep(0.005)
        connection.close()
        self.server.wait_until_idle()
        self.assertLess(self.server.metric("salient_generated_tokens_total") - before, 1000)

    def test_a_whole_answer_is_given_up_too(self):
        body = json.dumps({"prompt": "Once", "max_tokens": 15000})
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection = self.server.raw((head + body).encode())
        while self.server.metric("salient_requests_running") == 0:
            time.sleep(0.005)
        connection.close()
        self.server.wait_until_idle()

    def test_a_slow_reader_holds_up_nobody_and_gets_everything(self):
        slow = self.start_stream(tokens=400)
        self.assertEqual(self.complete(max_tokens=30).usage.completion_tokens, 30)
        self.server.wait_until_idle()
        text = b""
        while b"[DONE]" not in text:
            part = slow.recv(512)
            self.assertTrue(part, "cut off")
            text += part
        slow.close()

    def test_requests_on_one_connection(self):
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with self.server.raw(request + request) as connection:
            text = b""
            while text.count(b"HTTP/1.1 200") < 2:
                text += connection.recv(1000)

    def test_http_1_0_gets_a_stream_without_chunks(self):
        body = b'{"prompt": "Once", "max_tokens": 5, "stream": true}'
        head = b"POST /v1/completions HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        with self.server.raw(head + body) as connection:
            text = b""
            while part := connection.recv(4096):
                text += part
        self.assertTrue(text.endswith(b"\n\ndata: [DONE]\n\n"), text[-100:])
        self.assertNotIn(b"chunked", text)

    def test_no_page_is_leaked(self):
        connections = [self.start_stream(prompt=f"{i} " * 50 * i) for i in range(8)]
        time.sleep(0.2)
        for connection in connections:
            connection.close()
        self.server.wait_until_idle()
        self.assertEqual(self.server.metric("salient_kv_pages_in_use"), self.server.metric("salient_kv_pages_kept"))


class SettingsTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "tiny")
        cls.other = tiny_model.write_model(cls.folder / "other", seed=1)

    def test_a_key_is_asked_for(self):
        with Server(self.model, "--api-key", "secret", env={"SALIENT_KV_MEMORY": "0.1"}) as server:
            self.assertEqual(server.request("GET", "/v1/models")[0], 401)
            self.assertEqual(server.request("GET", "/health")[0], 200)
            for key, status in [("secret", 200), ("secre", 401), ("secrets", 401), ("", 401)]:
                headers = {"Authorization": "Bearer " + key}
                self.assertEqual(server.request("GET", "/v1/models", headers=headers)[0], status, key)
            with self.assertRaises(openai.AuthenticationError):
                openai.OpenAI(base_url=server.url + "/v1", api_key="wrong", max_retries=0).models.list()

    def test_a_public_address_needs_a_key(self):
        self.expect_sentence(program.run("serve", self.model, "--host", "0.0.0.0", "--port", "0"), "--api-key", "0.0.0.0")

    def test_origins_can_be_let_in(self):
        with Server(self.model, "--cors-origin", "http://friend.example", "--kv-memory", "0.1") as server:
            _, headers, _ = server.request("GET", "/health", headers={"Origin": "http://friend.example"})
            self.assertEqual(headers["Access-Control-Allow-Origin"], "http://friend.example")
            self.assertEqual(server.request("GET", "/health", headers={"Origin": "http://evil.example"})[0], 403)

    def test_several_models_take_turns_in_memory(self):
        with Server(self.model, self.other, "--kv-memory", "0.1") as server:
            def loaded():
                return [model["id"] for model in server.ask("/v1/models")["data"] if model["loaded"]]

            def text(model):
                return server.ask("/v1/completions", {"model": model, "prompt": "Once", **GREEDY})["choices"][0]["text"]

            self.assertEqual(loaded(), ["tiny"])
            first = text("tiny")
            self.assertNotEqual(text("other"), first)
            self.assertEqual(loaded(), ["other"])
            self.assertEqual(text("default"), first)
            self.assertEqual(loaded(), ["tiny"])

    def test_a_full_queue_is_a_429(self):
        with Server(self.model, "--kv-memory", "0.1", "--parallel", "1", "--queue", "1") as server:
            body = {"prompt": "Once", "max_tokens": 900, "stream": True}
            data = json.dumps(body).encode()
            head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data)
            connections = [server.raw(head + data) for _ in range(2)]
            while server.metric("salient_requests_running") + server.metric("salient_requests_waiting") < 2:
                time.sleep(0.002)
            status, headers, text = server.request("POST", "/v1/completions", {"prompt": "Twice", "max_tokens": 1})
            self.assertEqual(status, 429, text)
            self.assertIn("Retry-After", headers)
            for connection in connections:
                connection.close()

    def test_a_stream_that_waits_says_that_it_is_alive(self):
        long = tiny_model.write_model(self.folder / "long", max_position_embeddings=32768)
        with Server(long, "--kv-memory", "0.1", "--parallel", "1", "--ping", "1") as server:
            def stream(tokens):
                body = b'{"prompt": "Once", "max_tokens": %d, "stream": true}' % tokens
                return server.raw(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                                  % (len(body), body))

            first = stream(32000)
            while server.metric("salient_requests_running") == 0:
                time.sleep(0.005)
            with stream(3) as second:
                text = b""
                while b": ping\n\n" not in text:
                    text += second.recv(1000)
                first.close()
                while b"[DONE]" not in text:
                    text += second.recv(1000)

    def test_it_ends_politely(self):
        with Server(self.model, "--kv-memory", "0.1", "--grace", "0") as server:
            body = b'{"prompt": "Once", "max_tokens": 1000, "stream": true}'
            head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection = server.raw(head + body)
            connection.recv(100)
            self.assertEqual(server.stop(), 0)
            connection.close()

    def test_a_model_that_cannot_be_loaded_is_said_at_once(self):
        self.expect_sentence(program.run("serve", self.folder / "nowhere", "--port", "0"), "nowhere")

    def test_texts_and_tokens(self):
        with Server(self.model, "--kv-memory", "0.1") as server:
            self.assertEqual(server.ask("/tokenize", {"content": "ab"}), {"tokens": [97, 98]})
            pieces = server.ask("/tokenize", {"content": "ab", "with_pieces": True})["tokens"]
            self.assertEqual(pieces, [{"id": 97, "piece": "a"}, {"id": 98, "piece": "b"}])
            self.assertEqual(server.ask("/detokenize", {"tokens": [97, 98]}), {"content": "ab"})
            self.assertEqual(server.ask("/apply-template", {"messages": MESSAGES})["prompt"],
                             "user: Say something.\nassistant:")

    def test_templates_and_tools(self):
        tools = [{"type": "function", "function": {"name": "stop", "parameters": {"type": "object"}}}]
        listed = tiny_model.write_model(self.folder / "listed")
        named = [{"name": "default", "template": tiny_model.CHAT_TEMPLATE},
                 {"name": "tool_use", "template": "{{ tools[0].function.name }} <tool_call> {{ messages[0].content }}"}]
        (listed / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
        with Server(self.model, listed, "--kv-memory", "0.1") as server:
            def prompt(model, **fields):
                return server.ask("/apply-template", {"model": model, "messages": MESSAGES, **fields})["prompt"]

            plain = "user: Say something.\nassistant:"
            self.assertEqual(prompt("listed"), plain)
            self.assertEqual(prompt("listed", tools=tools), "stop <tool_call> Say something.")
            self.assertEqual(prompt("listed", tools=tools, tool_choice="none"), plain)
            # A template that knows of no tools has them in words, where the reply to a chat finds them too.
            described = prompt("tiny", tools=tools)
            self.assertIn('"name":"stop"', described.replace(" ", ""))
            self.assertTrue(described.endswith(plain))
            for model in ("listed", "tiny"):
                chat = server.ask("/v1/chat/completions", {"model": model, "messages": MESSAGES, "tools": tools, **GREEDY})
                self.assertEqual(chat["usage"]["prompt_tokens"], len(prompt(model, tools=tools)), model)
            self.assertEqual(server.refused("/apply-template", {"messages": MESSAGES, "tools": [{}]})[0], 400)


if __name__ == "__main__":
    program.main()
