"""The Python module: arrays in and out, streams, jobs, threads, and what mistakes say."""

import gc
import json
import pathlib
import subprocess
import sys
import threading

import fake_hub
import numpy
import program
import tiny_model

PACKAGE = pathlib.Path(__file__).parents[2] / "build" / "release" / "python"
sys.path.insert(0, str(PACKAGE))
try:
    import salient
except ImportError as error:
    print(f"the module cannot be imported from {PACKAGE}: {error}")
    sys.exit(77)


class ApiTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = tiny_model.write_model(cls.folder / "model", eos_token_id=101)
        cls.model = salient.Model(cls.path, threads=2)
        cls.tokenizer = cls.model.tokenizer

    def refusal(self, body, kind=salient.Error):
        with self.assertRaises(kind) as caught:
            body()
        return str(caught.exception)

    def test_the_model_says_what_it_is(self):
        self.assertEqual(self.model.format, "safetensors")
        self.assertEqual(self.model.family, "llama")
        self.assertEqual(self.model.vocab_size, 257)
        self.assertEqual(self.model.context_length, 1024)
        self.assertEqual(self.model.end_tokens, [101])
        self.assertEqual(self.model.begin_token, 256)
        self.assertEqual(pathlib.Path(self.model.path), self.path)
        self.assertEqual(self.model.device, "cpu")
        with self.assertRaisesRegex(salient.Error, 'device is "tpu", expected cpu, gpu'):
            salient.Model(self.folder / "model", device="tpu")
        self.assertIn("2 layers", self.model.summary)
        self.assertIn("model", repr(self.model))

    def test_text_goes_through_the_tokenizer(self):
        ids = self.tokenizer.encode("hé")
        self.assertEqual((ids.dtype, ids.tolist()), (numpy.int32, [104, 0xc3, 0xa9]))
        self.assertEqual(self.tokenizer.decode(ids), "hé")
        self.assertEqual(self.tokenizer.decode([104, 256]), "h")
        self.assertEqual(self.tokenizer.decode([104, 256], skip_special_tokens=False), "h<|start|>")
        self.assertEqual(self.tokenizer.id_of("<|start|>"), 256)
        self.assertIsNone(self.tokenizer.id_of("none"))
        stream = salient.TokenStream(self.tokenizer)
        self.assertEqual([stream.push(int(token)) for token in ids], ["h", "", "é"])

    def test_a_chat_is_rendered(self):
        chat = self.model.chat_template
        self.assertEqual(chat.render([{"role": "user", "content": "hi"}]), "user: hi\nassistant:")
        other = salient.ChatTemplate(self.model, "{{ tools | length }} {{ messages[0].extra }}")
        self.assertEqual(other.render([{"role": "user", "extra": 3}], tools=[{}, {}]), "2 3")

    def test_tokens_come_one_by_one(self):
        whole = salient.generate(self.model, "once upon", temperature=0, max_tokens=20)
        generator = salient.Generator(self.model, temperature=0, max_tokens=20)
        generator.append_tokens(self.tokenizer.encode("once upon"))
        tokens = list(generator)
        self.assertEqual([token.id for token in tokens if not token.ends_reply], whole.ids.tolist())
        self.assertEqual("".join(token.text for token in tokens), whole.text)
        self.assertTrue(generator.is_done)
        self.assertEqual(generator.finish_reason, whole.finish_reason)
        self.assertEqual(generator.tokens.tolist(), [*b"once upon", *whole.ids.tolist()])
        self.assertEqual(len(generator), 9 + len(whole.ids))
        self.assertEqual("".join(salient.stream(self.model, "once upon", temperature=0, max_tokens=20)), whole.text)

    def test_a_prompt_may_be_text_turns_or_ids(self):
        turns = [{"role": "user", "content": "hi"}]
        ids = salient.encode_prompt(self.model, turns)
        self.assertEqual(bytes(ids.tolist()).decode(), "user: hi\nassistant:")
        texts = {salient.generate(self.model, prompt, seed=3, max_tokens=8).text
                 for prompt in (turns, "user: hi\nassistant:", ids, ids.tolist())}
        self.assertEqual(len(texts), 1)

    def test_arrays_are_not_copied(self):
        generator = salient.Generator(self.model, temperature=0)
        generator.append_tokens(self.tokenizer.encode("abc"))
        logits = generator.logits()
        self.assertEqual((logits.dtype, logits.shape), (numpy.float32, (257,)))
        self.assertFalse(logits.flags.owndata)
        kept = logits.copy()
        del generator
        gc.collect()
        numpy.testing.assert_array_equal(logits, kept)

    def test_logits_can_be_changed(self):
        generator = salient.Generator(self.model, temperature=0)
        generator.append_tokens([97, 98])
        logits = numpy.zeros_like(generator.logits())
        logits[42] = 1
        generator.set_logits(logits)
        self.assertEqual(generator.next_token().id, 42)
        generator.rewind_to(2)
        self.assertNotEqual(generator.next_token().id, 42)

    def test_options_are_obeyed(self):
        free = salient.generate(self.model, "abc", temperature=1, seed=1, max_tokens=30)
        again = salient.generate(self.model, "abc", temperature=1, seed=1, max_tokens=30)
        self.assertEqual(free.text, again.text)
        stop = free.text[4:6]
        stopped = salient.generate(self.model, "abc", temperature=1, seed=1, max_tokens=30, stop=["never", stop])
        self.assertEqual(stopped.text, free.text[:free.text.index(stop)])
        self.assertEqual(stopped.finish_reason, "stop")
        biased = salient.generate(self.model, "abc", temperature=0, max_tokens=3, logit_bias={120: 1000.0})
        self.assertEqual(biased.text, "xxx")
        scored = salient.generate(self.model, "abc", temperature=0, max_tokens=3, top_log_probabilities=2)
        self.assertEqual(scored.log_probabilities.shape, (3,))
        self.assertEqual(scored.top_log_probabilities[0][0][0], scored.ids[0])
        self.assertAlmostEqual(scored.top_log_probabilities[0][0][1], float(scored.log_probabilities[0]))
        unended = salient.generate(self.model, "abc", temperature=0, max_tokens=50, end_tokens=[])
        self.assertEqual(len(unended.ids), 50)

    def test_a_reply_follows_its_grammar(self):
        schema = {"enum": ["red", "green"]}
        for grammar in ({"json_schema": schema}, {"json_schema": json.dumps(schema)}, {"regex": "\"(red|green)\""},
                        {"lark": 'start: "\\"red\\"" | "\\"green\\""'}):
            reply = salient.generate(self.model, "abc", seed=1, max_tokens=20, end_tokens=[256], **grammar)
            self.assertIn(json.loads(reply.text), schema["enum"])
        self.assertIn("cannot be compiled", self.refusal(lambda: salient.Generator(self.model, regex="(", end_tokens=[256])))

    def test_a_batch_is_its_prompts_one_by_one(self):
        prompts = [self.tokenizer.encode(text) for text in ("abc", "once upon a time", "x")]
        replies = salient.generate_batch(self.model, prompts, seed=5, max_tokens=12)
        self.assertEqual([reply.text for reply in replies],
                         [salient.generate(self.model, prompt, seed=5, max_tokens=12).text for prompt in prompts])

    def test_mistakes_say_what_was_expected(self):
        generator = salient.Generator(self.model, max_tokens=1)
        for wrong, words in [(numpy.zeros(3, numpy.int64), "tokens: expected a one-dimensional contiguous array of int32, "
                                                           "got int64 of 1 dimension"),
                             (numpy.zeros((2, 2), numpy.int32), "got int32 of 2 dimensions"),
                             (numpy.zeros(8, numpy.int32)[::2], "contiguous"),
                             (numpy.zeros(3, numpy.float32), "got float32"),
                             ("abc", "a sequence of int32 numbers"), (b"abc", "got bytes")]:
            self.assertIn(words, self.refusal(lambda array=wrong: generator.append_tokens(array), TypeError))
        self.assertIn("float32", self.refusal(lambda: generator.set_logits(numpy.zeros(257)), TypeError))
        self.assertEqual(self.refusal(lambda: generator.append_tokens([])), "the prompt is empty")
        self.assertIn("outside the model's vocabulary", self.refusal(lambda: generator.append_tokens([257])))
        self.assertIn("append tokens first", self.refusal(generator.next_token))
        generator.append_tokens([97])
        generator.next_token()
        self.assertIn("the most it may have", self.refusal(generator.next_token))
        self.assertIn("there is no generation option \"foo\"; there are context, ",
                      self.refusal(lambda: salient.Generator(self.model, foo=1)))
        self.assertIn("top_k is 1.5", self.refusal(lambda: salient.Generator(self.model, top_k=1.5)))
        with self.assertRaises(salient.Error) as caught:
            salient.Model("/no/such/model")
        self.assertEqual(caught.exception.kind, "not_found")
        self.assertIsInstance(caught.exception, RuntimeError)

    def test_threads_write_what_they_write_alone(self):
        alone = [salient.generate(self.model, [97 + i], seed=i, max_tokens=15).text for i in range(16)]
        together = [None] * 16

        def write(first):
            for i in range(first, 16, 4):
                together[i] = "".join(salient.stream(self.model, [97 + i], seed=i, max_tokens=15))

        threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)

    def test_work_can_be_cancelled(self):
        cancel = salient.Cancel()
        pieces = []

        def on_piece(piece):
            pieces.append(piece)
            cancel.cancel()

        generator = salient.Generator(self.model, temperature=1, max_tokens=100, end_tokens=[])
        reply = generator.reply([97], on_piece=on_piece, cancel=cancel)
        self.assertEqual(reply.finish_reason, "cancelled")
        self.assertEqual(reply.text, "".join(pieces))
        with self.assertRaises(salient.Error) as caught:
            salient.quantize(self.path, self.folder / "cancelled", group_size=32, cancel=cancel)
        self.assertEqual(caught.exception.kind, "cancelled")

    def test_what_a_callback_raises_comes_out(self):
        def on_piece(_piece):
            raise KeyError("from the callback")

        with self.assertRaises(KeyError):
            salient.Generator(self.model, max_tokens=5).reply([97], on_piece=on_piece)
        with self.assertRaises(ZeroDivisionError):
            salient.quantize(self.path, self.folder / "raised", group_size=32, calibration_sequences=2,
                             calibration_tokens=16, on_progress=lambda *_: 1 / 0)

    def test_a_model_is_pulled_quantized_measured_exported_and_run(self):
        hub = fake_hub.FakeHub({"tiny/model": {path.name: path.read_bytes() for path in self.path.iterdir()}})
        self.addCleanup(hub.close)
        text = self.folder / "text.txt"
        text.write_text("a quick brown fox " * 200)
        script = """if True:
            import json, salient, sys
            folder, text = sys.argv[1:]
            lines = []
            base = salient.pull("tiny/model")["path"]
            report = salient.quantize(base, folder + "/small", group_size=32, calibration=text, calibration_tokens=64,
                                      on_message=lines.append)
            (row,) = salient.perplexity(folder + "/small", data=[text], base=base, window=128, limit=4)
            salient.export(folder + "/small", folder + "/onnx", format="onnx")
            model = salient.Model(folder + "/onnx")
            reply = salient.generate(model, [{"role": "user", "content": "hi"}], temperature=0, max_tokens=8)
            print(json.dumps([report["group_size"], row["perplexity"], row["kl_divergence"], model.format, reply.text,
                              len(lines)]))"""
        result = subprocess.run(
            [sys.executable, "-c", script, self.folder, text], timeout=120, check=True, text=True, capture_output=True,
            env=program.environment(PYTHONPATH=str(PACKAGE), HF_ENDPOINT=hub.address, HF_HOME=str(self.folder / "home")))
        group_size, perplexity, divergence, form, reply, lines = json.loads(result.stdout)
        self.assertEqual((group_size, form), (32, "onnx"))
        self.assertGreater(perplexity, 1)
        self.assertGreater(divergence, 0)
        self.assertTrue(reply)
        self.assertGreater(lines, 0)
        self.assertEqual(result.stderr, "", "the library prints nothing")

    def test_python_m_salient_is_the_program(self):
        result = subprocess.run([sys.executable, "-m", "salient", "inspect", self.path, "--json"], timeout=60, check=True,
                                text=True, capture_output=True, env=program.environment(PYTHONPATH=str(PACKAGE)))
        self.assertEqual(json.loads(result.stdout), salient.inspect(self.path))

    def test_devices_are_those_of_the_program(self):
        devices = salient.devices(threads=2)
        listed = json.loads(program.run("devices", "--threads", "2", "--json").stdout)
        self.assertEqual([(one["device"], one["name"]) for one in devices], [(one["device"], one["name"]) for one in listed])
        cpu = devices[0]
        self.assertEqual((cpu["device"], cpu["threads"], cpu["kernels"]), ("cpu", 2, salient.active_kernel_name()))

    def test_the_module_has_types(self):
        stubs = (PACKAGE / "salient" / "_salient.pyi").read_text()
        for words in ("class Generator", "def append_tokens", "def quantize", "-> Annotated[NDArray[numpy.int32]"):
            self.assertIn(words, stubs)
        self.assertTrue((PACKAGE / "salient" / "py.typed").exists())


if __name__ == "__main__":
    program.main()
