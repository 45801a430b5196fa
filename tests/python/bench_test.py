"""`salient bench`: what it prints for programs and for people, and what it refuses. No timing is judged here."""

import json
import statistics

import program
import tiny_model

SHORT = ["--prompt-tokens", "8", "--generate-tokens", "3", "--repetitions", "2", "--threads", "2"]


class BenchTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "model")
        result = program.run("bench", cls.model, *SHORT, "--depth", "20", "--json")
        assert result.returncode == 0, result.stderr
        cls.tests = json.loads(result.stdout)

    def test_every_test_says_how_it_was_measured(self):
        self.assertEqual([test["test"] for test in self.tests], ["pp8", "tg3", "tg3 @ d20"])
        self.assertEqual([test["kind"] for test in self.tests], ["prefill", "decode", "decode"])
        for test in self.tests:
            self.assertEqual((test["model"], test["format"]), (str(self.model), "safetensors"))
            self.assertEqual((test["threads"], test["repetitions"], len(test["samples"])), (2, 2, 2))
            self.assertTrue(all(sample > 0 for sample in test["samples"]))
            self.assertAlmostEqual(test["tokens_per_second"] / statistics.mean(test["samples"]), 1)
            self.assertAlmostEqual(test["deviation"], statistics.stdev(test["samples"]), delta=1e-6 * test["deviation"])
            self.assertTrue(test["cpu"])
            self.assertEqual(test["kernels"], program.instruction_sets(self.model)[0])
            self.assertGreaterEqual(test["bandwidth_best"], test["bandwidth_median"])
            self.assertGreater(test["bandwidth_bytes"], 1 << 20)

    def test_decoding_is_set_against_memory_and_a_reader(self):
        self.assertNotIn("bandwidth_percent", self.tests[0])
        config = tiny_model.make_config()
        kv_bytes = 2 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"]
        for test in self.tests[1:]:
            middle = test["depth"] + 2  # of three tokens that see depth + 1, 2 and 3
            self.assertEqual(test["bytes_per_token"], test["weight_bytes"] + middle * kv_bytes)
            rate = test["bytes_per_token"] * test["tokens_per_second"] / 1e9
            self.assertAlmostEqual(test["gigabytes_per_second"] / rate, 1)
            around = map(max, test["bandwidth_before"], test["bandwidth_after"])
            shares = [speed * test["bytes_per_token"] / 1e7 / bandwidth
                      for speed, bandwidth in zip(test["samples"], around, strict=True)]
            self.assertAlmostEqual(test["bandwidth_percent"] / statistics.median(shares), 1)
            self.assertAlmostEqual(test["words_per_second"] / (0.75 * test["tokens_per_second"]), 1)
            self.assertEqual((test["assumed_words_per_token"], test["reader_words_per_second"]), (0.75, 5))

    def test_the_table_is_markdown_with_what_it_rests_on(self):
        result = self.run_well("bench", self.model, *SHORT, "--depth", "0")
        lines = result.stdout.splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        self.assertEqual(cells[0], ["model", "size", "threads", "test", "t/s", "MB read/token", "GB/s", "of bandwidth",
                                    "words/s"])
        self.assertEqual([row[3] for row in cells[2:]], ["pp8", "tg3"])
        self.assertRegex(cells[3][7], r"^\d+ %$")
        self.assertIn("0.75 words a token, which is assumed", result.stdout)
        self.assertIn("sweeps over", result.stdout)

    def test_the_usual_depth_is_what_the_context_has_room_for(self):
        small = tiny_model.write_model(self.folder / "small", max_position_embeddings=64)
        tests = json.loads(self.run_well("bench", small, *SHORT, "--json").stdout)
        self.assertEqual(tests[-1]["test"], "tg3 @ d61")
        self.expect_sentence(program.run("bench", small, *SHORT, "--depth", "62"), small, 64, 65)

    def test_one_model_is_needed_and_no_more(self):
        for arguments, named in [([], "--synthetic"), ([self.model, "--synthetic", "phi-3-mini"], "--synthetic"),
                                 (["--synthetic", "phi-9"], "phi-9"), ([self.model, "--write", "x"], "--write"),
                                 ([self.model, "--repetitions", "0"], "--repetitions"),
                                 ([self.model, "--depth", "-1"], "--depth")]:
            with self.subTest(arguments=arguments):
                result = program.run("bench", *arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(named, result.stderr)


if __name__ == "__main__":
    program.main()
