"""The Windows program under Wine does what the Linux program does, to the bit. scripts/test-windows makes the builds."""

import json
import subprocess

from under_wine import NATIVE, Server, windows_path
import program
import tiny_model

TEXT = "the quick brown fox jumps over the lazy dog and runs away from all the hounds " * 20


class WindowsTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "model")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)
        cls.small = cls.folder / "small"
        cls.quantize_arguments = ["--calibration", cls.text, "--calibration-tokens", "64", "--json"]
        cls.quantized = program.run("quantize", cls.model, "--output", cls.small, *cls.quantize_arguments)
        assert cls.quantized.returncode == 0, cls.quantized.stderr

    def run_native(self, *arguments):
        result = subprocess.run([NATIVE, *map(str, arguments)], env=program.environment(), capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def test_the_version_names_commit_and_instruction_sets(self):
        version = self.run_well("--version").stdout
        self.assertRegex(version, r"^salient 0\.1\.0 \(([0-9a-f]{12}|unknown)\), kernels .*scalar; here \w+\n$")
        self.assertEqual(version, self.run_native("--version").stdout)

    def test_quantize_writes_the_same_bytes(self):
        native = self.folder / "native"
        self.run_native("quantize", self.model, "--output", native, *self.quantize_arguments)
        names = sorted(path.name for path in native.iterdir())
        self.assertEqual(sorted(path.name for path in self.small.iterdir()), names)
        for name in names:
            if not name.startswith("salient-report"):  # which has times
                self.assertEqual((self.small / name).read_bytes(), (native / name).read_bytes(), name)

    def test_an_interrupted_quantize_goes_on(self):
        resumed = self.folder / "resumed"
        for _ in range(2):  # the second time with --resume on what is there
            self.run_well("quantize", self.model, "--output", resumed, "--resume", *self.quantize_arguments)
            self.assertTrue((resumed / "model.safetensors").exists())
            if not (self.folder / "resumed.partial").exists():
                break

    def test_every_instruction_set_gives_the_tokens_and_figures_of_linux(self):
        generate = ["generate", self.small, "--prompt", "the quick", "--max-tokens", "40", "--temperature", "1", "--json"]
        perplexity = ["perplexity", self.small, "--data", self.text, "--window", "64", "--limit", "3", "--json"]
        ids = json.loads(self.run_native(*generate).stdout)["ids"]
        losses = json.loads(self.run_native(*perplexity).stdout)[0]["window_losses"]
        for isa in program.instruction_sets(self.small):
            with self.subTest(isa=isa):
                env = {"SALIENT_ISA": isa}
                self.assertEqual(json.loads(self.run_well(*generate, env=env).stdout)["ids"], ids)
                self.assertEqual(json.loads(self.run_well(*perplexity, env=env).stdout)[0]["window_losses"], losses)

    def test_exports_are_the_same_bytes(self):
        for form, name in (("gguf", "model.gguf"), ("onnx", "onnx"), ("compressed-tensors", "packed")):
            with self.subTest(format=form):
                for folder, run in (("wine", self.run_well), ("linux", self.run_native)):
                    (self.folder / folder).mkdir(exist_ok=True)
                    run("export", self.small, "--format", form, "--output", self.folder / folder / name)
                ours, native = self.folder / "wine" / name, self.folder / "linux" / name
                files = [""] if native.is_file() else sorted(path.name for path in native.iterdir())
                for file in files:
                    self.assertEqual((ours / file).read_bytes() if file else ours.read_bytes(),
                                     (native / file).read_bytes() if file else native.read_bytes(), file)

    def test_text_and_paths_may_have_any_characters_and_be_long(self):
        folder = self.folder.joinpath("Grüße 日本 😀", *["x" * 60] * 5)
        self.assertGreater(len(str(folder)), 260)
        model = tiny_model.write_model(folder / "model")
        text = folder / "Täxt.txt"
        text.write_text("Grüße aus Köln. " * 40, encoding="utf-8")
        small = folder / "small"
        self.run_well("quantize", windows_path(model), "--output", windows_path(small), "--calibration",
                      windows_path(text), "--calibration-tokens", "64", "--json")
        self.assertFalse((folder / "small.partial").exists())
        about = json.loads(self.run_well("inspect", windows_path(small), "--json").stdout)
        self.assertEqual(about["model"], windows_path(small))
        rows = json.loads(self.run_well("perplexity", windows_path(small), "--data", windows_path(text), "--window", "64",
                                        "--limit", "2", "--json").stdout)
        self.assertEqual(rows[0]["data"], text.name)
        prompt = "Grüße, 日本 😀"
        reply = json.loads(self.run_well("generate", windows_path(small), "--prompt", prompt, "--max-tokens", "4",
                                         "--json").stdout)
        self.assertEqual(reply["prompt_tokens"], len(prompt.encode()))  # a token is a byte
        packed = folder / "packed"
        self.run_well("export", windows_path(small), "--format", "onnx", "--output", windows_path(packed))
        self.run_well("inspect", windows_path(packed))

    def test_what_is_wrong_is_said_in_a_sentence(self):
        self.expect_sentence(program.run("inspect", self.folder / "none"), "none")
        self.expect_sentence(program.run("quantize", self.model, "--output", self.small), "exists already")
        damaged = self.folder / "damaged.gguf"
        damaged.write_bytes(b"GGUF")
        self.expect_sentence(program.run("inspect", damaged), "damaged.gguf")

    def test_the_server_answers_from_outside_and_keeps_chats(self):
        store = self.folder / "chats ä.db"
        with Server(self.small, "--store", windows_path(store)) as server:
            self.assertEqual(server.ask("/v1/models")["data"][0]["id"], "small")
            body = {"model": "small", "prompt": "the quick", "max_tokens": 8, "temperature": 0}
            reply = server.ask("/v1/completions", body)
            native = json.loads(self.run_native("generate", self.small, "--prompt", "the quick", "--max-tokens", "8",
                                                "--temperature", "0", "--json").stdout)
            self.assertEqual(reply["choices"][0]["text"], native["text"])
            status, headers, events = server.request("POST", "/v1/completions", {**body, "stream": True})
            self.assertEqual(status, 200)
            self.assertIn("text/event-stream", headers["Content-Type"])
            self.assertTrue(events.rstrip().endswith("data: [DONE]"))
            status, error = server.refused("/v1/completions", {"model": "small"})
            self.assertEqual(status, 400, error)
            self.expect_sentence(program.run("serve", self.small, "--port", server.port), "cannot be listened on")
        self.assertTrue(store.exists())
        with Server(self.small, "--store", windows_path(store)) as server:  # what was kept is readable again
            server.ask("/v1/models")


if __name__ == "__main__":
    program.main()
