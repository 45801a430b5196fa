"""The conversations of the chat page: asked for over HTTP, read along, interrupted and killed."""

import contextlib
import gzip
import http.client
import json
import os
import pathlib
import re
import signal
import tempfile
import threading
import time

import program
import tiny_model
from served import Server

# How often the server is killed in mid-reply; more for a long soak.
KILLS = int(os.environ.get("CHAT_STORE_KILLS", "3"))
CONTEXT = 65536
ENDLESS = {"max_tokens": 60000, "temperature": 1, "seed": 1}


class ChatTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "tiny", max_position_embeddings=CONTEXT)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = pathlib.Path(folder.name) / "data" / "chats.sqlite"
        self.server = self.start()

    def start(self, *arguments):
        server = Server(self.model, "--store", self.store, "--kv-memory", 0.1, "--threads", 2, *arguments)
        self.addCleanup(server.close)
        return server

    def ask(self, method, path, body=None, status=200, headers=None):
        found, _, text = self.server.request(method, "/api" + path, body, headers)
        self.assertEqual(found, status, f"{method} {path}: {text}")
        return json.loads(text) if text else None

    def begin(self, content="Say something.", title="Talk"):
        """A conversation and its first message."""
        conversation = self.ask("POST", "/conversations", {"title": title}, 201)["id"]
        return conversation, self.say(conversation, content)

    def say(self, conversation, content, parent=None):
        return self.ask("POST", f"/conversations/{conversation}/messages", {"parent": parent, "content": content},
                        201)["id"]

    def reply(self, conversation, parent, **fields):
        message = self.ask("POST", f"/conversations/{conversation}/replies",
                           {"parent": parent, "model": "", "temperature": 0, "max_tokens": 20, **fields}, 201)
        self.assertEqual((message["state"], message["role"], message["parent"]), ("writing", "assistant", parent))
        return message["id"]

    def show(self, conversation):
        return self.ask("GET", f"/conversations/{conversation}")

    def message(self, conversation, message):
        return {one["id"]: one for one in self.show(conversation)["messages"]}[message]

    @contextlib.contextmanager
    def follow(self, conversation, message, begin=0):
        """The events of a reply from a byte on, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", f"/api/conversations/{conversation}/replies/{message}?from={begin}")
            answer = connection.getresponse()
            self.assertEqual(answer.status, 200)
            yield (json.loads(line[6:]) for line in answer if line.startswith(b"data: {"))

    def wait_for_text(self, conversation, message, size=1):
        with self.follow(conversation, message) as events:
            text = ""
            while len(text) < size:
                text += next(events).get("content", "")
        return text

    def finish(self, conversation, message):
        """All of a reply's text as a follower reads it, and the message that ends it."""
        with self.follow(conversation, message) as events:
            *parts, last = events
        return "".join(part.get("content", "") for part in parts), last["message"]


class ConversationTest(ChatTest):
    def test_a_conversation_is_kept(self):
        conversation, asked = self.begin()
        reply = self.reply(conversation, asked)
        text, message = self.finish(conversation, reply)
        self.assertEqual((message["state"], message["finish_reason"], message["model"]), ("complete", "length", "tiny"))
        self.assertEqual(message["content"], text)
        self.assertEqual(message["timings"]["predicted_n"], 20)
        expected = self.server.ask("/v1/chat/completions", {
            "messages": [{"role": "user", "content": "Say something."}], "temperature": 0, "max_tokens": 20})
        self.assertEqual(text, expected["choices"][0]["message"]["content"])
        before = self.show(conversation)
        self.assertEqual(before["head"], reply)
        self.assertEqual([one["content"] for one in before["messages"]], ["Say something.", text])
        self.assertEqual(self.server.stop(), 0)
        self.server = self.start()
        self.assertEqual(self.show(conversation), before)

    def test_a_reply_knows_what_was_said_before_on_its_branch(self):
        conversation, asked = self.begin("One")
        left = self.reply(conversation, asked)
        text, _ = self.finish(conversation, left)
        other = self.reply(conversation, asked, temperature=1, seed=5)
        self.assertNotEqual(self.finish(conversation, other)[0], text)
        second = self.say(conversation, "Two", left)
        last = self.reply(conversation, second, system="Be brief.")
        expected = self.server.ask("/v1/chat/completions", {"temperature": 0, "max_tokens": 20, "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "One"},
            {"role": "assistant", "content": text}, {"role": "user", "content": "Two"}]})
        self.assertEqual(self.finish(conversation, last)[0], expected["choices"][0]["message"]["content"])

    def test_conversations_are_listed_changed_and_removed(self):
        first, _ = self.begin("About whales", title="Sea")
        second, asked = self.begin("About owls", title="Wood")
        listed = self.ask("GET", "/conversations")["conversations"]
        self.assertEqual([one["id"] for one in listed], [second, first])
        self.assertEqual(self.ask("GET", "/conversations?limit=1")["conversations"], listed[:1])
        self.assertEqual(self.ask("GET", f"/conversations?before={listed[0]['updated']!r}")["conversations"], listed[1:])
        found = self.ask("GET", "/conversations?query=WHALES")["conversations"]
        self.assertEqual([(one["id"], one["matches"]) for one in found], [(first, "About whales")])
        changed = self.ask("PATCH", f"/conversations/{first}", {"title": "Ocean", "settings": {"temperature": 0.5}})
        self.assertEqual((changed["title"], changed["settings"]), ("Ocean", {"temperature": 0.5}))
        listed = self.ask("GET", "/conversations")["conversations"]
        self.assertEqual([one["title"] for one in listed], ["Ocean", "Wood"])
        reply = self.reply(second, asked, **ENDLESS)
        self.wait_for_text(second, reply)
        self.ask("DELETE", f"/conversations/{second}", status=204)
        self.server.wait_until_idle()
        self.ask("GET", f"/conversations/{second}", status=404)

    def test_what_is_wrong_is_said(self):
        conversation, asked = self.begin()
        replies = f"/conversations/{conversation}/replies"
        for method, path, body, status, words in [
            ("GET", "/conversations/nobody", None, 404, "nobody"),
            ("GET", "/conversations?limit=0", None, 400, "limit"),
            ("GET", "/conversations?before=x", None, 400, "before"),
            ("PUT", f"/conversations/{conversation}", {}, 405, "GET or PATCH or DELETE"),
            ("POST", "/conversations", {"titel": "a"}, 400, "titel"),
            ("POST", "/conversations", {"settings": 1}, 400, "settings"),
            ("PATCH", f"/conversations/{conversation}", {"head": "nobody"}, 404, "nobody"),
            ("POST", f"/conversations/{conversation}/messages", {"content": "a", "parent": asked}, 400, "parent"),
            ("POST", replies, {"parent": asked, "model": "huge"}, 404, "huge"),
            ("POST", replies, {"parent": asked, "temperature": -1}, 400, "temperature"),
            ("POST", replies, {"parent": asked, "n": 2}, 400, "n is not known"),
            ("POST", replies, {"model": ""}, 400, "parent"),
            ("GET", f"/conversations/{conversation}/export?format=pdf", None, 400, "pdf"),
            ("POST", "/import", {"format": "other"}, 400, "format"),
        ]:
            error = self.ask(method, path, body, status)["error"]
            self.assertIn(words, error["message"])
        self.ask("POST", "/import", "x", 415, {"Content-Type": "text/html"})
        self.assertEqual(len(self.show(conversation)["messages"]), 1)

    def test_a_reply_that_cannot_be_written_has_failed(self):
        conversation, asked = self.begin("x" * (CONTEXT + 1000))
        _, message = self.finish(conversation, self.reply(conversation, asked))
        self.assertEqual(message["state"], "failed")
        self.assertIn(str(CONTEXT), message["error"])

    def test_export_and_import_give_the_same_conversation(self):
        conversation, asked = self.begin("What is this?\n\n<!-- salient message {} -->\n## Heading\n", title="Größe <b>")
        self.ask("PATCH", f"/conversations/{conversation}", {"settings": {"system": "-->"}})
        self.finish(conversation, self.reply(conversation, asked, temperature=1, seed=1))
        self.finish(conversation, self.reply(conversation, asked))

        def comparable(conversation, all_branches):
            """With places instead of ids."""
            shown = self.show(conversation)
            places = {message["id"]: place for place, message in enumerate(shown["messages"])}
            messages = [{**message, "parent": message["parent"] and places[message["parent"]]}
                        for message in shown["messages"]]
            if not all_branches:
                messages = [messages[0], messages[places[shown["head"]]]]
            for message in messages:
                del message["id"]
            return {**{name: shown[name] for name in ("title", "settings", "created")}, "messages": messages}

        for form, kind in [("json", "application/json"), ("markdown", "text/markdown")]:
            status, headers, text = self.server.request("GET", f"/api/conversations/{conversation}/export?format={form}")
            self.assertEqual(status, 200)
            self.assertIn("attachment; filename=", headers["Content-Disposition"])
            copy = self.ask("POST", "/import", text.encode(), 201, {"Content-Type": kind})["id"]
            self.assertNotEqual(copy, conversation)
            self.assertEqual(comparable(copy, form == "json"), comparable(conversation, form == "json"))
        error = self.ask("POST", "/import", b"# A title\n", 400, {"Content-Type": "text/markdown"})["error"]
        self.assertIn("no Markdown that an export has written", error["message"])


class ReaderTest(ChatTest):
    def test_a_reply_goes_on_without_readers_and_nothing_is_lost_or_doubled(self):
        conversation, asked = self.begin()
        reply = self.reply(conversation, asked, temperature=1, seed=3, max_tokens=3000)
        text = b""
        last = None
        readers = 0
        while not last:
            readers += 1
            with self.follow(conversation, reply, len(text)) as events:
                for event in events:
                    last = event.get("message")
                    if "content" in event:
                        self.assertEqual(event["offset"], len(text))
                        text += event["content"].encode()
                        if len(text) < 2500:
                            break  # the connection is dropped in mid-reply
        self.assertGreater(readers, 3)
        self.assertEqual(last["state"], "complete")
        self.assertEqual(last["content"].encode(), text)
        self.assertEqual(self.message(conversation, reply)["content"].encode(), text)
        again, _ = self.finish(conversation, reply)
        self.assertEqual(again.encode(), text)

    def test_several_read_along(self):
        conversation, asked = self.begin()
        reply = self.reply(conversation, asked, temperature=1, seed=3, max_tokens=500)
        texts = [None] * 4

        def read(place):
            texts[place], _ = self.finish(conversation, reply)

        threads = [threading.Thread(target=read, args=(place,)) for place in range(len(texts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(texts)), 1)
        self.assertEqual(texts[0], self.message(conversation, reply)["content"])

    def test_a_reply_can_be_stopped(self):
        conversation, asked = self.begin()
        reply = self.reply(conversation, asked, **ENDLESS)
        seen = self.wait_for_text(conversation, reply, 10)
        stopped = self.ask("POST", f"/conversations/{conversation}/replies/{reply}/stop", {})
        self.assertEqual(stopped["state"], "stopped")
        self.assertTrue(stopped["content"].startswith(seen))
        self.server.wait_until_idle()
        self.assertEqual(self.message(conversation, reply), stopped)
        self.assertEqual(self.ask("POST", f"/conversations/{conversation}/replies/{reply}/stop", {}), stopped)

    def test_nothing_is_said_after_a_reply_that_is_being_written(self):
        conversation, asked = self.begin()
        reply = self.reply(conversation, asked, **ENDLESS)
        error = self.ask("POST", f"/conversations/{conversation}/messages", {"parent": reply, "content": "a"}, 400)
        self.assertIn("still being written", error["error"]["message"])

    def test_places_that_a_reply_does_not_have(self):
        conversation, asked = self.begin()
        reply = self.reply(conversation, asked, **ENDLESS)
        path = f"/conversations/{conversation}/replies/{reply}"
        self.assertIn("from", self.ask("GET", path + "?from=1000000", status=400)["error"]["message"])
        self.assertIn("from", self.ask("GET", path + "?from=-1", status=400)["error"]["message"])


class EndTest(ChatTest):
    def test_a_server_that_is_stopped_stops_its_replies(self):
        self.server.stop()
        self.server = self.start("--grace", 0)
        conversation, asked = self.begin()
        reply = self.reply(conversation, asked, **ENDLESS)
        seen = self.wait_for_text(conversation, reply, 10)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual([path.name for path in self.store.parent.iterdir()], [self.store.name], "closed")
        self.server = self.start()
        message = self.message(conversation, reply)
        self.assertEqual((message["state"], message["error"]), ("stopped", ""))
        self.assertTrue(message["content"].startswith(seen))

    def test_a_reply_without_readers_has_the_grace_period_too(self):
        conversation, asked = self.begin()
        reply = self.reply(conversation, asked, max_tokens=200)
        self.assertEqual(self.server.stop(), 0)
        self.server = self.start()
        self.assertEqual(self.message(conversation, reply)["state"], "complete")

    def test_nothing_that_was_said_is_lost_when_the_server_is_killed(self):
        said = []  # (conversation, message, content) that the server has acknowledged
        for kill in range(KILLS):
            conversation, asked = self.begin(f"Number {kill}")
            said.append((conversation, asked, f"Number {kill}"))
            short = self.reply(conversation, asked)
            text, _ = self.finish(conversation, short)
            said.append((conversation, short, text))
            cut = self.reply(conversation, asked, **ENDLESS)
            self.wait_for_text(conversation, cut)
            time.sleep(0.05 + 0.7 * (kill % 3))
            said.append((conversation, self.say(conversation, f"More {kill}", short), f"More {kill}"))
            self.server.process.send_signal(signal.SIGKILL)
            self.server.close()
            self.server = self.start()
            for one, message, content in said:
                self.assertEqual(self.message(one, message)["content"], content)
                self.assertEqual(self.message(one, message)["state"], "complete")
            message = self.message(conversation, cut)
            self.assertEqual(message["state"], "failed")
            self.assertIn("server ended", message["error"])
            if kill % 3 != 0:
                self.assertTrue(message["content"], "what was stored before is there")
            self.assertEqual(len(self.ask("GET", "/conversations?limit=200")["conversations"]), kill + 1)


class SettingsTest(ChatTest):
    def test_a_store_belongs_to_one_server(self):
        sentence = self.expect_sentence(
            program.run("serve", self.model, "--port", "0", "--kv-memory", "0.1", "--store", self.store), "in use")
        self.assertIn(str(self.store), sentence)

    def test_without_a_store(self):
        with Server(self.model, "--kv-memory", "0.1", "--store", "off") as server:
            status, _, text = server.request("GET", "/api/conversations")
            self.assertEqual(status, 404)
            self.assertIn("--store off", text)
            self.assertEqual(server.request("GET", "/api/models")[0], 200)

    def test_models_and_about(self):
        models = self.ask("GET", "/models")
        self.assertEqual(models["default"], "tiny")
        size = (self.model / "model.safetensors").stat().st_size
        model, = models["models"]
        self.assertEqual((model["id"], model["state"], model["format"], model["device"], model["context"]),
                         ("tiny", "loaded", "safetensors", "cpu", CONTEXT))
        self.assertLess(model["size_bytes"], size)
        self.assertGreater(model["size_bytes"], size * 0.9)
        about = self.ask("GET", "/about")
        version = self.run_well("--version").stdout
        self.assertTrue(version.startswith(f"salient {about['version']} ({about['commit']})"), version)
        self.assertIn("here " + about["instruction_set"], version)
        self.assertEqual(about["read_words_per_second"], 5)

    def test_the_page_needs_no_key_but_what_it_shows_does(self):
        with Server(self.model, "--kv-memory", "0.1", "--api-key", "secret") as server:
            self.assertEqual(server.request("GET", "/")[0], 200)
            self.assertEqual(server.request("GET", "/api/models")[0], 401)

    def test_the_page(self):
        status, headers, text = self.server.request("GET", "/")
        self.assertEqual(status, 200)
        if headers["Content-Type"].startswith("text/plain"):
            self.assertIn("built without Node", text)
            self.skipTest("this program was built without the page")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertNotIn("Content-Encoding", headers)
        status, again, body = self.server.request("GET", "/", headers={"If-None-Match": headers["ETag"]})
        self.assertEqual((status, body), (304, ""))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/", headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            self.assertEqual(answer.headers["Content-Encoding"], "gzip")
            self.assertEqual(gzip.decompress(answer.read()).decode(), text)
        assets = re.findall(r'(?:src|href)="\.?(/assets/[^"]+)"', text)
        self.assertTrue(assets)
        for asset in assets:
            status, headers, _ = self.server.request("GET", asset)
            self.assertEqual(status, 200, asset)
            self.assertIn("immutable", headers["Cache-Control"])


if __name__ == "__main__":
    program.main()
