"""--device: which device runs a model, on a Vulkan driver if there is one; a driver in software will do."""

import json
import math
import sys

import program
import served
import tiny_model

NO_DRIVER = {"VK_ICD_FILENAMES": "/no/such/driver.json", "VK_DRIVER_FILES": "/no/such/driver.json"}
TEXT = "The quick brown fox jumps over the lazy dog while the cat sleeps. " * 6


def gpus():
    return [device for device in json.loads(program.run("devices", "--json").stdout) if device["device"].startswith("gpu:")]


class DeviceTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "model")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)
        cls.gpu = gpus()[0]

    def generate(self, *arguments, tokens=24, env=None):
        flags = ["--max-tokens", tokens, "--temperature", "0", "--json"]
        result = self.run_well("generate", self.model, "--prompt", TEXT[:200], *flags, *arguments, env=env)
        return json.loads(result.stdout), result.stderr

    def perplexity(self, *arguments, env=None):
        flags = ["--data", self.text, "--window", "64", "--limit", "3", "--json"]
        (row,) = json.loads(self.run_well("perplexity", self.model, *flags, *arguments, env=env).stdout)
        return row

    def test_devices_are_listed_with_what_they_have(self):
        self.assertEqual(self.gpu["device"], "gpu:0")
        self.assertGreater(self.gpu["memory"], 0)
        self.assertLessEqual(self.gpu["available_memory"], self.gpu["memory"])
        self.assertIn(self.gpu["kind"], ["discrete", "integrated", "virtual", "software", "other"])
        features = {feature["name"]: feature for feature in self.gpu["features"]}
        self.assertIn("integer dot product", features)
        self.assertIsNotNone(features["subgroup arithmetic"]["use"])
        self.assertIsNone(features["cooperative matrix"]["use"])
        text = self.run_well("devices").stdout
        for part in (self.gpu["name"], self.gpu["driver"], "features in use: ", "there and not used: ", "untested"):
            self.assertIn(part, text)

    def test_memory_is_read_and_copied(self):
        measured = json.loads(self.run_well("devices", "--measure", "--json").stdout)[1]
        self.assertGreater(measured["copy_bandwidth_best"], 0)
        self.assertGreaterEqual(measured["bandwidth_best"], measured["bandwidth_median"])
        for limit in measured["limits"]:
            rate = limit["tokens_per_second"] * limit["bytes_per_token"] / 1e9
            self.assertAlmostEqual(rate / measured["bandwidth_best"], 1)

    def test_greedy_replies_are_the_cpus(self):
        on_cpu, said = self.generate()
        self.assertIn("kernels", said)
        for features in ("", "none", "subgroups", "subgroups,integer_dot"):
            on_gpu, said = self.generate("--device", "gpu:0", env={"SALIENT_VULKAN_FEATURES": features})
            self.assertEqual(on_gpu["ids"], on_cpu["ids"], features)
            self.assertIn(f"gpu:0 {self.gpu['name']}", said)

    def test_auto_is_a_real_gpu_or_the_cpu_and_says_why(self):
        _, said = self.generate("--device", "auto")
        real = [gpu for gpu in gpus() if gpu["kind"] != "software" and gpu["refusal"] is None]
        self.assertIn("device auto: gpu:" if real else "device auto: the CPU, because there is no GPU: gpu:0 is", said)
        _, said = self.generate("--device", "auto", env=NO_DRIVER)
        self.assertIn("device auto: the CPU, because there is no GPU: ", said)

    def test_what_cannot_be_is_said(self):
        def refused(*arguments, env=None):
            return program.run("generate", self.model, "--prompt", "a", *arguments, env=env)

        self.expect_sentence(refused("--device", "npu"), '"npu"', "cpu, gpu, gpu:0")
        self.expect_sentence(refused("--device", "gpu:99"), "there is no gpu:99", "gpu:0")
        self.expect_sentence(refused("--device", "gpu", env=NO_DRIVER), "there is no GPU here")
        self.expect_sentence(refused("--device", "gpu:0", env=NO_DRIVER), "there is no gpu:0")
        self.expect_sentence(refused("--device", "gpu:0", env={"SALIENT_VULKAN_FEATURES": "fast"}), '"fast"')
        if self.gpu["kind"] == "software":
            self.expect_sentence(refused("--device", "gpu"), "there is no GPU here", self.gpu["name"], "named")
        odd = tiny_model.write_model(self.folder / "odd", hidden_size=60)
        result = program.run("generate", odd, "--prompt", "a", "--device", "gpu:0")
        self.expect_sentence(result, "60 inputs", "multiples of 8")

    def test_a_model_that_does_not_fit_is_refused_with_the_numbers(self):
        if self.gpu["available_memory"] > 7e9:
            self.skipTest("Phi-3-medium fits this device")
        result = program.run("bench", "--synthetic", "phi-3-medium", "--device", "gpu:0")
        self.expect_sentence(result, "phi-3-medium", "it needs 7.", "GiB", "for weights", "are free")

    def test_keys_and_values_can_be_rounded(self):
        on_cpu, _ = self.generate("--kv-cache", "int8")
        on_gpu, said = self.generate("--kv-cache", "int8", "--device", "gpu:0")
        self.assertEqual(on_gpu["ids"], on_cpu["ids"])
        self.assertIn("of int8 keys and values", said)

    def test_the_head_can_be_rounded(self):
        on_cpu, _ = self.generate("--head", "int8")
        on_gpu, said = self.generate("--head", "int8", "--device", "gpu:0")
        self.assertEqual(on_gpu["ids"], on_cpu["ids"])
        self.assertIn("head int8", said)

    def test_grammars_and_speculation_work(self):
        ending = tiny_model.write_model(self.folder / "ending", eos_token_id=256)
        on_cpu, on_gpu = (self.run_well("generate", ending, "--prompt", "a", "--regex", "(ab|cd)+", "--temperature", "0",
                                        "--max-tokens", "12", "--device", device).stdout for device in ("cpu", "gpu:0"))
        self.assertRegex(on_gpu, "^(ab|cd)+$")
        self.assertEqual(on_gpu, on_cpu)
        without, _ = self.generate("--speculate", "off", "--device", "gpu:0", tokens=80)
        with_drafts, _ = self.generate("--speculate", "on", "--device", "gpu:0", tokens=80)
        self.assertEqual(with_drafts["ids"], without["ids"])

    def test_perplexity_is_the_cpus(self):
        exact = self.perplexity("--exact")
        for features in ("none", "subgroups,integer_dot"):
            row = self.perplexity("--device", "gpu:0", "--exact", "--base", self.model,
                                  env={"SALIENT_VULKAN_FEATURES": features})
            self.assertAlmostEqual(row["base_perplexity"], exact["perplexity"])
            # Keys and values are in fp16 there, and in fp32 here.
            self.assertLess(abs(math.log(row["perplexity"] / exact["perplexity"])), 1e-3)
            self.assertLess(abs(row["kl_divergence"]), 1e-4)

    def test_speed_is_measured(self):
        tests = json.loads(self.run_well("bench", self.model, "--device", "gpu:0", "--prompt-tokens", "8", "--depth", "9",
                                         "--generate-tokens", "3", "--repetitions", "2", "--json").stdout)
        self.assertEqual([test["test"] for test in tests], ["pp8", "tg3", "tg3 @ d9"])
        for test in tests:
            self.assertEqual(test["device"], "gpu:0")
            self.assertIn(self.gpu["name"], test["device_description"])

    def test_what_a_token_moves_is_counted(self):
        report = json.loads(self.run_well("bench", self.model, "--device", "gpu:0", "--count", "--depth", "100",
                                          "--json").stdout)
        config = tiny_model.make_config()
        hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
        heads, kv = config["num_attention_heads"] * 16, config["num_key_value_heads"] * 16
        linears = layers * (hidden * (heads + 2 * kv) + heads * hidden + 3 * hidden * inner) + hidden * 257
        norms = 2 * layers * hidden
        first, deep = report["counts"]
        # fp16 weights; norms, and the bias of the head, in fp32.
        self.assertEqual(first["weight_bytes"], 2 * linears + 4 * norms + 4 * 257)
        self.assertEqual((first["depth"], deep["depth"]), (0, 100))
        self.assertEqual(first["cache_bytes"], layers * 2 * kv * 2)
        self.assertEqual(deep["cache_bytes"], 101 * first["cache_bytes"])
        self.assertEqual(deep["dispatches"], first["dispatches"])
        # A greedy choice: one token and its logit.
        self.assertEqual(first["to_host_bytes"], 8)
        # At least logits and hidden states; not much more for so small a model.
        self.assertGreater(first["written_bytes"], 4 * (257 + 2 * layers * hidden))
        self.assertEqual(first["bytes"], first["read_bytes"] + first["written_bytes"] + first["cache_bytes"])
        moved = first["read_bytes"] + first["written_bytes"] - first["weight_bytes"]
        self.assertAlmostEqual(first["excess"], moved / first["weight_bytes"])
        for estimate in report["estimates"]:
            low, high = estimate["estimated_tokens_per_second"]
            self.assertLess(low, high)
        text = self.run_well("bench", self.model, "--device", "gpu:0", "--count", "--depth", "100").stdout
        self.assertIn("estimates, not measurements", text)
        self.expect_sentence(program.run("bench", self.model, "--count"), 'device is "cpu"', "gpu:0")

    def test_tokens_are_those_that_all_logits_give(self):
        """With log-probabilities all logits come to the host; without, those that the choice depends on."""
        with served.Server(self.model, "--device", "gpu:0", "--threads", "1") as server:
            def write(**fields):
                request = {"prompt": [TEXT[:50], TEXT[:90]], "max_tokens": 16, **fields}
                return [choice["text"] for choice in server.ask("/v1/completions", request)["choices"]]

            texts = set()
            for seed in range(3):
                for fields in ({"temperature": 0}, {"temperature": 1.2, "top_k": 40, "top_p": 1, "min_p": 0.01},
                               {"temperature": 2, "top_k": 128, "top_p": 0.9}):
                    chosen = write(seed=seed, **fields)
                    self.assertEqual(chosen, write(seed=seed, logprobs=0, **fields), (seed, fields))
                    texts.update(chosen)
            self.assertEqual(len(texts), 2 + 2 * 3 * 2)

    def test_the_server_runs_on_it(self):
        def ask(server, text, **fields):
            return server.ask("/v1/completions", {"prompt": text, "max_tokens": 12, "temperature": 0, **fields})

        with served.Server(self.model, "--threads", "1") as on_cpu, \
                served.Server(self.model, "--device", "gpu:0", "--threads", "1") as on_gpu:
            self.assertEqual(on_gpu.ask("/v1/models")["data"][0]["device"], "gpu:0")
            self.assertEqual(on_gpu.ask("/api/models")["models"][0]["device"], "gpu:0")
            self.assertEqual(on_cpu.ask("/api/models")["models"][0]["device"], "cpu")
            expected = ask(on_cpu, TEXT)["choices"][0]["text"]
            self.assertEqual(ask(on_gpu, TEXT)["choices"][0]["text"], expected)
            again = ask(on_gpu, TEXT)
            self.assertEqual(again["choices"][0]["text"], expected)
            self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 100)
            batch = ask(on_gpu, [TEXT, TEXT[:90], TEXT[:30]])["choices"]
            for choice, prompt in zip(batch, [TEXT, TEXT[:90], TEXT[:30]], strict=True):
                self.assertEqual(choice["text"], ask(on_cpu, prompt)["choices"][0]["text"])
            self.assertEqual(on_gpu.stop(), 0)


if __name__ == "__main__":
    if program.PROGRAM.exists() and not gpus():
        print("no Vulkan driver here, or a build without Vulkan")
        sys.exit(77)
    program.main()
