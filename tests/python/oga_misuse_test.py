"""What libonnxruntime-genai says to programs that use it wrongly: sentences, and no crash."""

import ctypes
import json
import pathlib
import subprocess
import sys
import threading

import numpy
import program
import tiny_model

BUILD = pathlib.Path(__file__).parents[2] / "build" / "release"
LIBRARY = BUILD / "libonnxruntime-genai.so"
# Functions that return something else than a result, and those that do nothing with what they are given.
WITHOUT_RESULT = {"OgaGenerator_IsDone", "OgaGenerator_IsSessionTerminated", "OgaGenerator_TokenCount",
                  "OgaGenerator_GetSequenceCount", "OgaGenerator_GetSequenceData", "OgaResultGetError",
                  "OgaSequencesCount", "OgaSequencesGetSequenceCount", "OgaSequencesGetSequenceData", "OgaShutdown",
                  "OgaSetTelemetryEnabled", "OgaRegisterExecutionProviderLibrary",
                  "OgaUnregisterExecutionProviderLibrary", "OgaSetLogCallback", "OgaSetCurrentGpuDeviceId",
                  "OgaMtpGenerator_GetAcceptCount", "OgaMtpGenerator_GetForwardCount",
                  "OgaMtpGenerator_GetSequenceCount", "OgaMtpGenerator_GetSequenceData",
                  "OgaMtpGenerator_GetTrialCount", "OgaMtpGenerator_IsDone"}
CALL_WITH_NULLS = """if True:
    import ctypes, sys
    library = ctypes.CDLL(sys.argv[1])
    library.OgaResultGetError.restype = ctypes.c_char_p
    for name in sys.argv[2:]:
        print(name, end=" ", flush=True)
        function = getattr(library, name)
        function.restype = ctypes.c_void_p
        result = function(*[ctypes.c_void_p()] * 9)
        print(library.OgaResultGetError(ctypes.c_void_p(result)).decode() if WITH_RESULT else "", flush=True)"""


class MisuseTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        source = tiny_model.write_model(cls.folder / "source", eos_token_id=121)
        sys.path.insert(0, str(BUILD / "python"))
        import salient  # pylint: disable=import-outside-toplevel
        import salient.onnxruntime_genai as og  # pylint: disable=import-outside-toplevel
        salient.export(source, cls.folder / "model", format="onnx", limit=0)
        cls.og = og
        cls.model = og.Model(str(cls.folder / "model"))
        cls.tokenizer = og.Tokenizer(cls.model)

    def generator(self, **options):
        params = self.og.GeneratorParams(self.model)
        params.set_search_options(**options)
        return self.og.Generator(self.model, params)

    def refusal(self, body):
        with self.assertRaises(RuntimeError) as caught:
            body()
        return str(caught.exception)

    def call_with_nulls(self, names, with_result):
        script = CALL_WITH_NULLS.replace("WITH_RESULT", str(with_result))
        result = subprocess.run([sys.executable, "-c", script, LIBRARY, *names], timeout=60, check=False, text=True,
                                capture_output=True, env=program.environment())
        self.assertEqual(result.returncode, 0, result.stdout[-200:] + result.stderr)
        return dict(line.split(" ", 1) for line in result.stdout.splitlines())

    def test_every_function_takes_nulls(self):
        output = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True).stdout
        exported = {line.split()[-1] for line in output.splitlines() if " T Oga" in line}
        silent = {name for name in exported if name in WITHOUT_RESULT or name.startswith("OgaDestroy")}
        self.call_with_nulls(sorted(silent), False)
        for name, sentence in self.call_with_nulls(sorted(exported - silent), True).items():
            self.assertTrue(sentence.endswith((" is null", " not supported by this library")), f"{name}: {sentence!r}")

    def test_an_unknown_option_lists_those_there_are(self):
        params = self.og.GeneratorParams(self.model)
        for value in (1, True):
            sentence = self.refusal(lambda given=value: params.set_search_options(foo=given))
            self.assertTrue(sentence.startswith("there is no search option \"foo\"; there are batch_size, "), sentence)
            for name in params.get_search_options():
                self.assertIn(name, sentence)

    def test_a_sequence_that_is_full_stays_so(self):
        generator = self.generator(max_length=6)
        generator.append_tokens([97, 98, 99])
        for _ in range(3):
            generator.generate_next_token()
        self.assertTrue(generator.is_done())
        self.assertIn("max_length", self.refusal(generator.generate_next_token))
        self.assertIn("max_length", self.refusal(lambda: generator.append_tokens([97])))
        self.assertIn("cannot rewind to 7 tokens", self.refusal(lambda: generator.rewind_to(7)))
        self.assertEqual(len(generator.get_sequence(0)), 6)

    def test_tokens_that_the_model_does_not_have(self):
        for token in (-1, 257, 2**31 - 1, -2**31):
            generator = self.generator(max_length=20)
            self.assertIn(f"token {token} is outside the model's vocabulary of 257",
                          self.refusal(lambda of=generator, wrong=token: of.append_tokens([97, wrong])))
            self.assertEqual(generator.token_count(), 0)
            generator.append_tokens([97])
            generator.generate_next_token()
            self.assertEqual(self.tokenizer.decode([97, token]), "a")
            self.assertEqual(self.tokenizer.create_stream().decode(token), "")

    def test_a_batch_with_such_a_token_is_as_it_was(self):
        good = numpy.array([[97, 98], [99, 100]], dtype=numpy.int32)
        bad = numpy.array([[97, 98], [99, 257]], dtype=numpy.int32)
        fresh, used = (self.generator(max_length=12, batch_size=2) for _ in range(2))
        self.assertIn("257", self.refusal(lambda: used.append_tokens(bad)))
        self.assertEqual(used.token_count(), 0)
        for generator in (fresh, used):
            generator.append_tokens(good)
            while not generator.is_done():
                generator.generate_next_token()
        for row in range(2):
            self.assertEqual(used.get_sequence(row).tolist(), fresh.get_sequence(row).tolist())

    def test_arrays_of_another_type_or_shape(self):
        generator = self.generator(max_length=20)
        generator.append_tokens([97, 98])
        vocabulary = generator.get_logits().shape[-1]
        for wrong in (numpy.zeros((1, 1, vocabulary - 1)), numpy.zeros((2, vocabulary)), numpy.zeros(0)):
            self.assertIn("the logits are", self.refusal(lambda array=wrong: generator.set_logits(array)))
        self.assertIn("do not divide into 2", self.refusal(lambda: self.generator(batch_size=2).append_tokens([1, 2, 3])))
        for wrong in (numpy.array(["a"]), ["a"], [97, None], numpy.array([97j]), "abc"):
            with self.assertRaises(TypeError):
                generator.append_tokens(wrong)
        self.assertEqual(generator.token_count(), 2)
        ids = self.og.Tensor(numpy.zeros((1, 2), numpy.int64))
        self.assertIn("int32 with 2 dimensions", self.refusal(lambda: self.tokenizer.decode_batch(ids)))
        with self.assertRaises(RuntimeError):
            self.og.Tensor(numpy.zeros(3, numpy.complex64))

    def test_a_tensor_of_the_callers_memory_has_a_shape(self):
        library = ctypes.CDLL(str(LIBRARY))
        library.OgaResultGetError.restype = ctypes.c_char_p
        library.OgaCreateTensorFromBuffer.restype = ctypes.c_void_p
        memory, out = (ctypes.c_int32 * 4)(), ctypes.c_void_p()
        for shape, kind in (((-1, 4), 6), ((2**40, 2**40), 6), ((2, 2), 99)):
            result = library.OgaCreateTensorFromBuffer(memory, (ctypes.c_int64 * 2)(*shape), ctypes.c_size_t(2), kind,
                                                       ctypes.byref(out))
            self.assertTrue(result, f"{shape} of {kind}")
            self.assertTrue(library.OgaResultGetError(ctypes.c_void_p(result)))
            library.OgaDestroyResult(ctypes.c_void_p(result))
        self.assertFalse(out)

    def test_a_generator_that_several_threads_use_stays_whole(self):
        generator = self.generator(max_length=900, min_length=900)
        generator.append_tokens([97, 98])
        written, sentences = [], set()

        def write():
            for _ in range(100):
                try:
                    generator.generate_next_token()
                    written.append(1)
                except RuntimeError as error:
                    sentences.add(str(error))
                generator.token_count()
                generator.is_done()
                generator.get_sequence(0)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(generator.token_count(), 2 + len(written))
        self.assertLessEqual(sentences, {"this generator is at work, expected one thread at a time"})
        alone = self.generator(max_length=900, min_length=900)
        alone.append_tokens([97, 98])
        for _ in written:
            alone.generate_next_token()
        self.assertEqual(alone.get_sequence(0).tolist(), generator.get_sequence(0).tolist())

    def test_what_is_no_configuration_is_refused(self):
        config = self.og.Config(str(self.folder / "model"))
        for text in ("", "[]", "{\"search\": ", "1"):
            self.assertIn("not a JSON object", self.refusal(lambda given=text: config.overlay(given)))
        config.overlay(json.dumps({"search": {"foo": 1}}))
        model = self.og.Model(config)
        self.assertIn("there is no search option \"foo\"", self.refusal(lambda: self.og.GeneratorParams(model)))
        self.assertIn("there is no provider", self.refusal(lambda: config.append_provider("abacus")))


if __name__ == "__main__":
    if not LIBRARY.exists() or not any((BUILD / "python" / "salient").glob("_salient*.so")):
        print(f"{LIBRARY} or the Python module has not been built")
        sys.exit(77)
    program.main()
