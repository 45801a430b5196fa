"""/v1/embeddings, asked by the unmodified openai client and compared with the model's mathematics in numpy."""

import json
import threading

import numpy
import openai

import program
import reference_llama
import tiny_model
from served import Server

TEXTS = ["Once upon a time", "x", "Twice upon another time, " * 60]


class EmbeddingsTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        changes = {"max_position_embeddings": 4096}
        cls.config = tiny_model.make_config(**changes)
        cls.tensors = tiny_model.make_tensors(cls.config)
        cls.server = Server(tiny_model.write_model(cls.folder / "tiny", **changes), "--kv-memory", 0.1, "--threads", 2)
        cls.addClassCleanup(cls.server.close)
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)

    def embed(self, given, **changes):
        return self.client.embeddings.create(**{"model": "tiny", "input": given, **changes})

    def expected(self, text):
        mean = reference_llama.hidden_states(list(text.encode()), self.config, self.tensors).mean(0)
        return mean / numpy.linalg.norm(mean)

    def test_an_embedding_is_the_mean_of_the_hidden_states(self):
        answer = self.embed(TEXTS)
        self.assertEqual([one.index for one in answer.data], [0, 1, 2])
        self.assertEqual(answer.model, "tiny")
        self.assertEqual(answer.usage.prompt_tokens, sum(map(len, TEXTS)))
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens)
        for text, one in zip(TEXTS, answer.data):
            self.assertEqual(len(one.embedding), self.config["hidden_size"])
            self.assertAlmostEqual(numpy.linalg.norm(one.embedding), 1, places=5)
            # Keys and values are kept in fp16.
            numpy.testing.assert_allclose(one.embedding, self.expected(text), atol=2e-3)

    def test_the_formats_say_the_same(self):
        as_base64 = self.embed(TEXTS).data  # what the client asks for unless it is told otherwise
        as_floats = self.embed(TEXTS, encoding_format="float").data
        for one, other in zip(as_base64, as_floats):
            numpy.testing.assert_array_equal(numpy.float32(one.embedding), numpy.float32(other.embedding))
        raw = self.server.ask("/v1/embeddings", {"input": "x", "encoding_format": "base64"})["data"][0]["embedding"]
        self.assertIsInstance(raw, str)

    def test_texts_and_tokens_in_lists_and_alone(self):
        text = self.embed("Once").data[0].embedding
        for given in (["Once"], [79, 110, 99, 101], [[79, 110, 99, 101]]):
            self.assertEqual([one.embedding for one in self.embed(given).data], [text], given)

    def test_a_long_list_comes_whole_and_in_order(self):
        texts = [f"This is text {i}." for i in range(300)]
        answer = self.embed(texts)
        self.assertEqual(len(answer.data), 300)
        for i in (0, 17, 299):
            self.assertEqual(answer.data[i].embedding, self.embed(texts[i]).data[0].embedding)
        self.server.wait_until_idle()
        self.assertEqual(self.server.metric("salient_kv_pages_in_use"), self.server.metric("salient_kv_pages_kept"))

    def test_replies_beside_it_are_the_same(self):
        def complete():
            return self.client.completions.create(model="tiny", prompt="Once", temperature=0, max_tokens=300).choices[0].text

        alone, together = complete(), []
        thread = threading.Thread(target=lambda: together.append(complete()))
        thread.start()
        embedding = self.embed(TEXTS[2]).data[0].embedding
        thread.join()
        self.assertEqual(together, [alone])
        self.assertEqual(self.embed(TEXTS[2]).data[0].embedding, embedding)

    def test_what_is_asked_wrongly_is_named(self):
        for body, words in [({}, "input is missing"), ({"input": []}, "input"), ({"input": ""}, "empty"),
                            ({"input": ["a", ""]}, "empty"), ({"input": {"a": 1}}, "input"), ({"input": [300]}, "vocabulary"),
                            ({"input": ["a"] * 2049}, "2048"), ({"input": "a", "dimensions": 8}, "dimensions is 8"),
                            ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
                            ({"input": "a" * 5000}, "5000"), ({"input": "a", "inputs": "b"}, "inputs is not known")]:
            status, error = self.server.refused("/v1/embeddings", body)
            self.assertEqual(status, 400, body)
            self.assertIn(words, error["message"], json.dumps(body)[:60])
        with self.assertRaises(openai.NotFoundError):
            self.embed("a", model="huge")


if __name__ == "__main__":
    program.main()
