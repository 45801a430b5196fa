"""--device ort-cpu: generate() folders run in the real onnxruntime, as they run on the CPU."""

import json
import math
import pathlib

import onnxruntime
import program
import served
import tiny_model

DEVICE = "ort-cpu"
CAPI = str(pathlib.Path(onnxruntime.__file__).parent / "capi")
LIBRARY = {"SALIENT_ONNXRUNTIME": CAPI}
TEXT = "The quick brown fox jumps over the lazy dog while the cat sleeps. " * 6
LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [1 + i * i / 2 for i in range(8)]}
# Of log-probabilities: fp32 sums in another order.
BOUND = 1e-4


class OnnxRuntimeTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = tiny_model.write_model(cls.folder / "source")
        cls.model = cls.export(cls.source, "model")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)

    @classmethod
    def export(cls, source, name):
        """A generate() folder with fp32 activations."""
        folder = cls.folder / name
        result = program.run("export", source, "--format", "onnx", "--output", folder, "--accuracy-level", "0")
        assert result.returncode == 0, result.stderr
        return folder

    def generate(self, model, *arguments, env=None):
        flags = ["--max-tokens", "24", "--temperature", "0", "--json"]
        result = self.run_well("generate", model, "--prompt", TEXT[:200], *flags, *arguments, env=env or LIBRARY)
        return json.loads(result.stdout), result.stderr

    def refused(self, *arguments, env=None):
        return program.run("generate", self.model, "--prompt", "a", "--device", DEVICE, *arguments,
                           env={**LIBRARY, **(env or {})})

    def change_config(self, change):
        """genai_config.json changed for the time of a test."""
        path = self.model / "genai_config.json"
        whole = path.read_text()
        self.addCleanup(path.write_text, whole)
        config = json.loads(whole)
        change(config)
        path.write_text(json.dumps(config))

    def test_the_library_is_listed(self):
        listed = {device["device"]: device for device in json.loads(self.run_well("devices", "--json",
                                                                                  env=LIBRARY).stdout)}
        self.assertRegex(listed[DEVICE]["onnxruntime"], r"^1\.\d+\.\d+$")
        self.assertTrue(listed[DEVICE]["library"].startswith(CAPI))
        text = self.run_well("devices", env=LIBRARY).stdout
        self.assertIn(f"ONNX Runtime {listed[DEVICE]['onnxruntime']}, {CAPI}", text)
        self.assertIn(f"| {DEVICE} ", text)
        text = self.run_well("devices", env={"SALIENT_ONNXRUNTIME": "/no/such.so"}).stdout
        self.assertIn("no ONNX Runtime: ONNX Runtime cannot be loaded: /no/such.so", text)

    def test_greedy_replies_are_the_cpus(self):
        for shares in (True, False):
            self.change_config(lambda config: config["search"].update(past_present_share_buffer=shares))
            on_cpu, _ = self.generate(self.model)
            here, said = self.generate(self.model, "--device", DEVICE)
            self.assertEqual(here["ids"], on_cpu["ids"])
            self.assertIn("ONNX Runtime 1.", said)
            drafted, _ = self.generate(self.model, "--device", DEVICE, "--speculate", "on")
            self.assertEqual(drafted["ids"], on_cpu["ids"])

    def test_a_text_that_outgrows_its_rotary_regime(self):
        phi3 = tiny_model.write_model(self.folder / "longrope", rope_scaling=LONGROPE, original_max_position_embeddings=210)
        model = self.export(phi3, "longrope-onnx")
        on_cpu, _ = self.generate(model)
        here, _ = self.generate(model, "--device", DEVICE)
        self.assertEqual(here["ids"], on_cpu["ids"])

    def test_log_probabilities_are_those_of_the_exact_cpu_path(self):
        flags = ["--data", self.text, "--window", "64", "--limit", "3", "--json"]
        (exact,) = json.loads(self.run_well("perplexity", self.model, *flags, "--exact").stdout)
        (row,) = json.loads(self.run_well("perplexity", self.model, *flags, "--exact", "--device", DEVICE, "--base",
                                          self.model, env=LIBRARY).stdout)
        self.assertAlmostEqual(row["base_perplexity"], exact["perplexity"])
        self.assertLess(abs(math.log(row["perplexity"] / exact["perplexity"])), BOUND)
        self.assertLess(abs(row["kl_divergence"]), BOUND)

    def test_grammars_and_speed(self):
        ending = self.export(tiny_model.write_model(self.folder / "ending", eos_token_id=256), "ending-onnx")
        flags = ["--prompt", "a", "--regex", "(ab|cd)+", "--temperature", "0", "--max-tokens", "12"]
        on_cpu, here = (self.run_well("generate", ending, *flags, "--device", device, env=LIBRARY).stdout
                        for device in ("cpu", DEVICE))
        self.assertRegex(here, "^(ab|cd)+$")
        self.assertEqual(here, on_cpu)
        tests = json.loads(self.run_well("bench", self.model, "--device", DEVICE, "--prompt-tokens", "8", "--depth", "9",
                                         "--generate-tokens", "3", "--repetitions", "2", "--json", env=LIBRARY).stdout)
        self.assertEqual([test["test"] for test in tests], ["pp8", "tg3", "tg3 @ d9"])
        self.assertEqual({test["device"] for test in tests}, {DEVICE})

    def test_the_server_runs_on_it(self):
        def ask(server, text):
            return server.ask("/v1/completions", {"prompt": text, "max_tokens": 12, "temperature": 0})

        with served.Server(self.model, "--threads", "1") as on_cpu, \
                served.Server(self.model, "--device", DEVICE, "--threads", "1", "--context", "600",
                              env=LIBRARY) as here:
            self.assertEqual(here.ask("/v1/models")["data"][0]["device"], DEVICE)
            expected = ask(on_cpu, TEXT)["choices"][0]["text"]
            self.assertEqual(ask(here, TEXT)["choices"][0]["text"], expected)
            again = ask(here, TEXT)
            self.assertEqual(again["choices"][0]["text"], expected)
            self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 100)
            prompts = [TEXT, TEXT[:90], TEXT[:30]]
            for choice, prompt in zip(ask(here, prompts)["choices"], prompts, strict=True):
                self.assertEqual(choice["text"], ask(on_cpu, prompt)["choices"][0]["text"])
            self.assertEqual(here.stop(), 0)

    def test_what_cannot_be_is_said(self):
        self.expect_sentence(self.refused("--kv-cache", "int8"), DEVICE, "int8")
        self.expect_sentence(self.refused("--head", "int8"), DEVICE, "head")
        self.expect_sentence(program.run("generate", self.source, "--prompt", "a", "--device", DEVICE, env=LIBRARY),
                             "safetensors", "salient export --format onnx")
        self.expect_sentence(program.run("generate", self.model, "--prompt", "a", "--device", "cuda", env=LIBRARY),
                             "cuda", "CUDAExecutionProvider", "pip install onnxruntime-gpu")

    def test_a_library_that_is_not_there_or_not_fit_is_said(self):
        for value, parts in (("/no/such.so", ("ONNX Runtime cannot be loaded", "/no/such.so")),
                             (self.folder, ("SALIENT_ONNXRUNTIME", str(self.folder))),
                             ("libc.so.6", ("libc.so.6 is not ONNX Runtime",))):
            self.expect_sentence(self.refused(env={"SALIENT_ONNXRUNTIME": str(value)}), *parts)

    def test_the_library_of_an_active_environment_is_found(self):
        root = self.folder / "environment"
        capi = root / "lib" / "python3.99" / "site-packages" / "onnxruntime" / "capi"
        capi.parent.mkdir(parents=True)
        capi.symlink_to(CAPI, target_is_directory=True)
        said = self.run_well("devices", env={"VIRTUAL_ENV": str(root)}).stdout
        # The system may have one of its own.
        self.assertRegex(said, f"ONNX Runtime 1[.0-9]+, ({capi}|libonnxruntime)")

    def test_a_file_that_was_cut_off_is_named(self):
        for name in ("model.onnx", "model.onnx.data"):
            path = self.model / name
            whole = path.read_bytes()
            self.addCleanup(path.write_bytes, whole)
            path.write_bytes(whole[:len(whole) // 2])
            self.expect_sentence(self.refused(), "model.onnx")
            path.write_bytes(whole)


if __name__ == "__main__":
    program.main()
