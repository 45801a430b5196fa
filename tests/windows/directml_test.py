"""--device dml: generate() folders run in the real DirectML of pip's onnxruntime-directml, on Wine's Direct3D, as they run
on the CPU of the same ONNX Runtime and on Salient's own.

SALIENT_TEST_DIRECTML names the folder with its DLLs; a prefix of Wine, a Vulkan driver and the package onnx are in the
environment (scripts/test-windows)."""

import json
import math
import os
import shutil
import subprocess
import sys
import unittest

import onnx

from under_wine import NATIVE, SMOLLM2, Server, windows_path
import program
import tiny_model

DLLS = os.environ.get("SALIENT_TEST_DIRECTML", "")
LIBRARY = {"SALIENT_ONNXRUNTIME": windows_path(DLLS)}
TEXT = "The quick brown fox jumps over the lazy dog while the cat sleeps. " * 6
# Half floats throughout, in sums of another order: of mean log-probabilities.
BOUND = 2e-3
# A software driver takes seconds for each token of SmolLM2.
TIMEOUT = 900


def native(*arguments):
    result = subprocess.run([NATIVE, *map(str, arguments)], env=program.environment(), capture_output=True, text=True,
                            check=False)
    assert result.returncode == 0, result.stderr


def count_on_the_device(path):
    """The length of a text as a sum that DirectML makes. As generate() folders have it, from a shape, it is what ONNX
    Runtime always leaves to the CPU."""
    model = onnx.load(path, load_external_data=False)
    nodes = {node.name: node for node in model.graph.node}
    prefix = "/model/attn_mask_reformat/attn_mask_subgraph/"
    ones, length = nodes[prefix + "Greater/Cast"], nodes[prefix + "Gather/Cast"]
    for name in ("Shape", "Gather", "Gather/Cast"):
        model.graph.node.remove(nodes[prefix + name])
    both_axes = onnx.helper.make_tensor("both_axes", onnx.TensorProto.INT64, [2], [0, 1])
    model.graph.initializer.append(both_axes)
    count = onnx.helper.make_node("ReduceSum", [ones.output[0], both_axes.name], list(length.output), name=length.name,
                                  keepdims=0)
    model.graph.node.insert(list(model.graph.node).index(ones) + 1, count)
    onnx.save(model, path)


class DirectMlTest(program.ProgramTest):
    def generate(self, model, prompt, device, tokens):
        flags = ["--max-tokens", tokens, "--temperature", "0", "--json", "--device", device]
        result = self.run_well("generate", model, "--prompt", prompt, *flags, env=LIBRARY, timeout=TIMEOUT)
        return json.loads(result.stdout)["ids"]

    def expect_the_cpus_tokens(self, model, prompt, tokens):
        with self.subTest(prompt=prompt[:30]):
            on_cpu = self.generate(model, prompt, "ort-cpu", tokens)
            self.assertEqual(self.generate(model, prompt, "dml", tokens), on_cpu)

    def expect_the_cpus_perplexity(self, model, text, window):
        flags = ["--data", text, "--window", window, "--limit", "2", "--json"]
        on_cpu, here = (json.loads(self.run_well("perplexity", model, *flags, "--device", device, env=LIBRARY,
                                                 timeout=TIMEOUT).stdout)[0]["perplexity"]
                        for device in ("ort-cpu", "dml"))
        self.assertLess(abs(math.log(here / on_cpu)), BOUND)


class TinyModelTest(DirectMlTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        source = tiny_model.write_model(cls.folder / "source")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)
        cls.model = cls.folder / "model"
        native("quantize", source, "--output", cls.folder / "small", "--calibration", cls.text, "--calibration-tokens", "64")
        native("export", cls.folder / "small", "--format", "onnx", "--layout", "dml", "--output", cls.model)

    def test_it_is_listed(self):
        listed = [device["device"] for device in json.loads(self.run_well("devices", "--json", env=LIBRARY).stdout)]
        self.assertIn("dml", listed)

    def test_tokens_are_the_cpus(self):
        self.expect_the_cpus_tokens(self.model, TEXT[:20], 24)
        self.expect_the_cpus_tokens(self.model, TEXT[:250], 24)  # of which a buffer for 256 gets too small

    def test_perplexity_is_the_cpus(self):
        self.expect_the_cpus_perplexity(self.model, self.text, 64)

    def test_texts_go_on_where_others_ended(self):
        def ask(server, prompt):
            reply = server.ask("/v1/completions", {"prompt": prompt, "max_tokens": 12, "temperature": 0})
            return reply["choices"][0]["text"], reply["usage"]["prompt_tokens_details"]["cached_tokens"]

        servers = (Server(self.model, "--device", device, "--context", "600", env=LIBRARY) for device in ("ort-cpu", "dml"))
        replies = []
        for server in servers:
            with server:
                first, _ = ask(server, TEXT[:100])
                again, cached = ask(server, TEXT[:100] + first + " and")
                self.assertGreater(cached, 90)
                other, cached = ask(server, TEXT[:60] + "no")
                self.assertGreater(cached, 50)
                replies.append((first, again, other))
        self.assertEqual(replies[1], replies[0])

    def test_adapters_that_are_not_there_are_said(self):
        path = self.model / "genai_config.json"
        whole = path.read_text()
        self.addCleanup(path.write_text, whole)
        config = json.loads(whole)
        config["model"]["decoder"]["session_options"]["provider_options"] = [{"dml": {"luid": "12345:67890"}}]
        path.write_text(json.dumps(config))
        result = program.run("generate", self.model, "--prompt", "a", "--device", "dml", env=LIBRARY)
        self.expect_sentence(result, 'luid of dml is "12345:67890"', "the adapters here are ")


@unittest.skipUnless(SMOLLM2.exists(), "scripts/fetch-smollm2 has not fetched the model")
class SmolLm2Test(DirectMlTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = cls.folder / "text.txt"
        cls.text.write_text((NATIVE.parents[2] / "docs/windows.md").read_text())
        cls.model = cls.folder / "model"
        native("quantize", SMOLLM2, "--method", "rtn", "--output", cls.folder / "small")
        native("export", cls.folder / "small", "--format", "onnx", "--layout", "dml", "--output", cls.model)

    def test_tokens_are_the_cpus(self):
        # The CPU's best two logits are 0.1 apart everywhere here, or more: nearer ones are as near as its roundings.
        for prompt in ("Once upon a time, there was", "1, 2, 3, 4, 5, 6, 7,",
                       "The quick brown fox jumps over the lazy dog. The quick brown fox"):
            self.expect_the_cpus_tokens(self.model, prompt, 24)
        self.expect_the_cpus_tokens(self.model, ", ".join(map(str, range(1, 81))) + ",", 8)

    def test_perplexity_is_the_cpus(self):
        self.expect_the_cpus_perplexity(self.model, self.text, 128)

    def test_tokens_are_the_same_where_nothing_may_fall_back_to_the_cpu(self):
        prompt = "The capital of France is"
        expected = self.generate(self.model, prompt, "dml", 8)
        folder = self.folder / "strict"
        shutil.copytree(self.model, folder)
        path = folder / "genai_config.json"
        config = json.loads(path.read_text())
        config["model"]["decoder"]["session_options"]["session.disable_cpu_ep_fallback"] = "1"
        path.write_text(json.dumps(config))
        result = program.run("generate", folder, "--prompt", prompt, "--device", "dml", env=LIBRARY)
        self.expect_sentence(result, "fallback to CPU EP has been explicitly disabled")
        count_on_the_device(folder / "model.onnx")
        self.assertEqual(self.generate(folder, prompt, "dml", 8), expected)


if __name__ == "__main__":
    if not DLLS:
        print("SALIENT_TEST_DIRECTML names no folder with onnxruntime.dll and DirectML.dll")
        sys.exit(77)
    program.main()
