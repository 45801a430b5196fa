"""The command line as programs and people use it: help, exit codes, JSON, determinism, interruptions."""

import json
import os
import re
import signal
import subprocess

import program
import tiny_model

COMMANDS = ["pull", "models", "inspect", "quantize", "export", "perplexity", "bench", "generate", "chat", "completion"]
TEXT = "the quick brown fox jumps over the lazy dog and runs away from all the hounds " * 20


class FlagTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "model")

    def test_help_is_no_error(self):
        overview = self.run_well("--help").stdout
        for command in COMMANDS:
            self.assertIn(command, overview)
            text = self.run_well(command, "--help").stdout
            if command == "completion":  # it has no flags of its own
                continue
            self.assertRegex(text, r"(?m)^  --\w+")
            if command in ("pull", "models"):
                continue
            self.assertIn("MODEL", text)
            if command not in ("inspect", "export"):
                self.assertIn("(Env:SALIENT_THREADS)", text.replace("\n", "").replace(" ", ""))
        self.assertRegex(self.run_well("--version").stdout, r"^salient \d+\.\d+")

    def test_without_a_command_shows_the_help_and_fails(self):
        result = program.run()
        self.assertEqual(result.returncode, 2)
        for command in COMMANDS:
            self.assertIn(command, result.stderr)

    def test_usage_errors_end_with_2_and_name_what_is_wrong(self):
        for arguments, named in [
            (["fly"], "fly"),
            (["inspect"], "MODEL"),
            (["inspect", self.model, "--nonsense"], "--nonsense"),
            (["generate", self.model], "--prompt"),
            (["generate", self.model, "--prompt", "a", "--max-tokens", "many"], "--max-tokens: many"),
            (["generate", self.model, "--prompt", "a", "--speculate", "often"], "often"),
            (["chat", self.model, "--speculate", "often"], "often"),
            (["quantize", self.model], "--output"),
            (["quantize", self.model, "--output", "x", "--method", "gptq"], "gptq"),
            (["quantize", self.model, "--output", "x", "--format", "gptq"], "gptq"),
            (["export", self.model, "--output", "x", "--format", "gptq"], "gptq"),
            (["export", self.model], "--output"),
            (["generate", self.model, "--prompt", "a", "--head", "int2"], "int2"),
            (["chat", self.model, "--kv-cache", "int4"], "int4"),
            (["quantize", self.model, "--output", "x", "--group-size", "100"], "100"),
        ]:
            with self.subTest(arguments=arguments):
                result = program.run(*arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(named, result.stderr)

    def test_negative_numbers_are_usage_errors(self):
        flags = {
            "generate": ["threads", "max-tokens", "context", "temperature", "top-k", "top-p", "seed"],
            "chat": ["threads", "max-tokens", "context", "temperature", "top-k", "top-p", "seed"],
            "perplexity": ["threads", "window", "stride", "limit"],
            "bench": ["threads", "prompt-tokens", "generate-tokens", "depth", "repetitions"],
            "quantize": ["threads", "group-size", "calibration-sequences", "calibration-tokens", "seed"],
        }
        for command, names in flags.items():
            required = {"generate": ["--prompt", "a"], "quantize": ["--output", "x"]}.get(command, [])
            for name in names:
                with self.subTest(command=command, flag=name):
                    result = program.run(command, self.model, *required, f"--{name}", "-1")
                    self.assertEqual(result.returncode, 2, result.stderr)
                    self.assertIn(f"--{name}", result.stderr)
                    self.assertLess(len(result.stderr), 200)

    def test_every_flag_has_an_environment_twin_and_the_flag_wins(self):
        def count(*arguments, **env):
            result = self.run_well("generate", self.model, "--prompt", "a", "--json", *arguments, env=env)
            return json.loads(result.stdout)["generated_tokens"]

        self.assertEqual(count(SALIENT_MAX_TOKENS="5"), 5)
        self.assertEqual(count("--max-tokens", "7", SALIENT_MAX_TOKENS="5"), 7)
        result = program.run("generate", self.model, "--prompt", "a", env={"SALIENT_MAX_TOKENS": "many"})
        self.assertEqual(result.returncode, 2)
        self.assertIn("many", result.stderr)

    def test_completion_knows_every_command_and_flag(self):
        script = self.run_well("completion", "bash").stdout
        for command in COMMANDS:
            flags = set(re.findall(r"--[a-z-]+", self.run_well(command, "--help").stdout.partition("Options:")[2]))
            words = " ".join(f"salient {command} --".split())
            asked = f"{script}\nCOMP_WORDS=({words}); COMP_CWORD=2; _salient; echo ${{COMPREPLY[@]}}"
            offered = subprocess.run(["bash", "-c", asked], check=True, capture_output=True, text=True).stdout.split()
            self.assertLessEqual(set(offered), flags, command)
            self.assertIn("--help", offered)
            fish = self.run_well("completion", "fish").stdout
            for flag in offered:
                self.assertIn(f"-n '__fish_seen_subcommand_from {command}' -l {flag[2:]} ", fish)

    def test_the_version_names_commit_and_instruction_sets(self):
        version = self.run_well("--version").stdout
        self.assertRegex(version, r"^salient 0\.1\.0 \(([0-9a-f]{12}|unknown)\), kernels .*scalar; here \w+\n$")

    def test_a_standard_output_that_cannot_be_written_is_an_error(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            for arguments in (["inspect", self.model], ["generate", self.model, "--prompt", "a", "--json"]):
                self.expect_sentence(program.run(*arguments, stdout=full), "standard output")

    def test_a_standard_error_that_cannot_be_written_is_no_crash(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            self.assertEqual(program.run("inspect", self.folder / "none", stderr=full).returncode, 1)

    def test_a_reader_that_leaves_ends_the_program_quietly(self):
        reader, writer = os.pipe()
        os.close(reader)
        result = program.run("generate", self.model, "--prompt", "a", "--max-tokens", "500", stdout=writer)
        os.close(writer)
        self.assertIn(result.returncode, (-signal.SIGPIPE, 1))
        self.assertNotIn("terminate", result.stderr)


class ModelTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "model")
        cls.gguf = cls.folder / "model.gguf"
        tiny_model.write_gguf(cls.gguf)
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)
        cls.small = cls.folder / "small"
        result = program.run("quantize", cls.model, "--output", cls.small, "--calibration", cls.text,
                             "--calibration-tokens", "64", "--json")
        assert result.returncode == 0, result.stderr
        cls.report = json.loads(result.stdout)

    def generate(self, model, *arguments, **env):
        if "--prompt" not in arguments:
            arguments += ("--prompt", "the quick", "--max-tokens", "40")
        result = self.run_well("generate", model, "--json", *arguments, env=env)
        return json.loads(result.stdout)

    def test_inspect_says_what_a_model_is(self):
        about = json.loads(self.run_well("inspect", self.model, "--json").stdout)
        expected = {"model": str(self.model), "format": "safetensors", "family": "llama", "layers": 2,
                    "hidden_size": 64, "intermediate_size": 128, "heads": 4, "kv_heads": 2, "head_dim": 16,
                    "vocab_size": 257, "context": 1024, "tied_embeddings": False, "has_tokenizer": True,
                    "has_chat_template": True}
        self.assertEqual({field: about[field] for field in expected}, expected)
        tensors = tiny_model.make_tensors(tiny_model.make_config())
        self.assertEqual(about["bytes"], sum(values.nbytes for values in tensors.values()))
        listed = json.loads(self.run_well("inspect", self.model, "--json", "--tensors").stdout)["tensors"]
        self.assertEqual({entry["name"]: entry["shape"] for entry in listed},
                         {name: list(values.shape) for name, values in tensors.items()})
        self.assertIn("lm_head.bias", self.run_well("inspect", self.model, "--tensors").stdout)
        self.assertEqual(json.loads(self.run_well("inspect", self.gguf, "--json").stdout)["format"], "gguf")
        small = json.loads(self.run_well("inspect", self.small, "--json").stdout)
        self.assertEqual((small["format"], small["group_size"]), ("awq", 64))

    def test_inspect_says_how_each_tensor_runs(self):
        def runs(model):
            listed = json.loads(self.run_well("inspect", model, "--json", "--tensors").stdout)["tensors"]
            return {entry["name"]: (entry["stored_as"], entry["runs_as"], entry["runs_at_bits"]) for entry in listed}

        packed = self.folder / "packed.gguf"
        tiny_model.write_gguf(packed, q8_0=True)
        down = "model.layers.0.mlp.down_proj."
        self.assertEqual(runs(packed)[down + "weight"], ("Q8_0", "int8 in groups of 32", 8))
        self.assertEqual(runs(packed)["lm_head.weight"], ("Q8_0", "int8 in groups of 32", 8))
        self.assertEqual(runs(packed)["model.embed_tokens.weight"], ("Q8_0", "fp32", 32))  # looked up, not multiplied
        self.assertEqual(runs(packed)["model.norm.weight"], ("F32", "fp32", 32))
        self.assertEqual(runs(self.gguf)[down + "weight"], ("F32", "fp32", 32))
        self.assertEqual(runs(self.model)[down + "weight"], ("F16", "fp16", 16))
        self.assertEqual(runs(self.small)[down + "qweight"], ("I32", "int4 in groups of 64", 4))
        self.assertEqual(runs(self.small)[down + "scales"], ("F16", "part of int4 in groups of 64", 4))

    def test_a_quantized_gguf_runs_quantized_and_can_be_quantized_again(self):
        packed = self.folder / "packed.gguf"
        tiny_model.write_gguf(packed, q8_0=True)
        result = self.run_well("generate", packed, "--prompt", "a", "--max-tokens", "2")
        self.assertIn("int8 in groups of 32, int8 activations", result.stderr)
        result = self.run_well("quantize", packed, "--output", self.folder / "again", "--method", "rtn")
        self.assertIn("is itself quantized (Q8_0)", result.stderr)
        self.run_well("inspect", self.folder / "again")

    def test_generate_repeats_itself_for_the_same_seed_only(self):
        first = self.generate(self.model, "--seed", "1")
        self.assertEqual(len(first["ids"]), 40)
        self.assertEqual(first["finish_reason"], "length")
        self.assertEqual(first["prompt_tokens"], len("the quick"))
        self.assertEqual(first["text"].encode(), bytes(first["ids"]))  # a token is a byte
        self.assertEqual(self.generate(self.model, "--seed", "1")["ids"], first["ids"])
        self.assertNotEqual(self.generate(self.model, "--seed", "2")["ids"], first["ids"])
        greedy = [self.generate(self.model, "--temperature", "0", "--seed", seed)["ids"] for seed in "12"]
        self.assertEqual(greedy[0], greedy[1])

    def test_generate_prints_the_text_and_reads_standard_input(self):
        expected = self.generate(self.model)["text"]
        plain = self.run_well("generate", self.model, "--prompt", "-", "--max-tokens", "40", input="the quick")
        self.assertEqual(plain.stdout, expected + "\n")
        self.assertIn("ended by length", plain.stderr)

    def test_drafts_do_not_change_the_reply(self):
        prompt = "the quick brown fox, the quick brown fox, the quick"
        for temperature in ("0", "0.8"):
            with self.subTest(temperature=temperature):
                arguments = ["--prompt", prompt, "--max-tokens", "300", "--temperature", temperature]
                plain = self.generate(self.model, *arguments, "--speculate", "off")
                self.assertEqual(plain["drafted"], 0)
                self.assertEqual(plain["accepted"], 0)
                for reply in (self.generate(self.model, *arguments), self.generate(self.model, *arguments,
                                                                                   SALIENT_SPECULATE="on")):
                    self.assertEqual(reply["ids"], plain["ids"])
                    self.assertLessEqual(reply["accepted"], reply["drafted"])
        self.assertEqual(self.generate(self.model, SALIENT_SPECULATE="off")["drafted"], 0)

    def test_generate_ends_at_the_end_of_sequence(self):
        ids = self.generate(self.model)["ids"]
        end = next(token for token in ids if ids.index(token) > 3)
        model = tiny_model.write_model(self.folder / "ending", eos_token_id=end)
        reply = self.generate(model)
        self.assertEqual(reply["ids"], ids[: ids.index(end)])
        self.assertEqual(reply["finish_reason"], "stop")

    def test_instruction_sets_and_threads_give_the_same_tokens_and_figures(self):
        def perplexity(model, *arguments, **env):
            result = self.run_well("perplexity", model, "--data", self.text, "--window", "64", "--limit", "3", "--json",
                                   *arguments, env=env)
            return json.loads(result.stdout)[0]["window_losses"]

        for model in (self.model, self.small, self.gguf):
            tokens = self.generate(model, "--temperature", "1", "--threads", "1", SALIENT_ISA="scalar")["ids"]
            losses = perplexity(model, "--threads", "1", SALIENT_ISA="scalar")
            for isa in program.instruction_sets(model):
                for threads in ("2", "3"):
                    with self.subTest(model=model.name, isa=isa, threads=threads):
                        reply = self.generate(model, "--temperature", "1", "--threads", threads, SALIENT_ISA=isa)
                        self.assertEqual(reply["ids"], tokens)
                        self.assertEqual(perplexity(model, "--threads", threads, SALIENT_ISA=isa), losses)

    def test_a_rounded_head_and_cache_give_the_same_figures_everywhere(self):
        def run(isa, threads):
            rounded = ("--head", "int4", "--kv-cache", "int8", "--threads", threads)
            tokens = self.generate(self.small, "--temperature", "1", *rounded, SALIENT_ISA=isa)["ids"]
            rows = self.run_well("perplexity", self.small, "--data", self.text, "--window", "100", "--limit", "3",
                                 "--json", *rounded, env={"SALIENT_ISA": isa}).stdout
            return tokens, json.loads(rows)[0]["window_losses"]

        expected = run("scalar", "1")
        for isa in program.instruction_sets(self.small):
            for threads in ("1", "3"):
                with self.subTest(isa=isa, threads=threads):
                    self.assertEqual(run(isa, threads), expected)

    def test_a_head_that_is_stored_in_as_few_bits_stays_as_it_is(self):
        packed = self.folder / "packed_head.gguf"
        tiny_model.write_gguf(packed, q8_0=True)

        def losses(head):
            result = self.run_well("perplexity", packed, "--data", self.text, "--window", "100", "--limit", "2",
                                   "--json", "--head", head)
            return json.loads(result.stdout)[0]["window_losses"]

        self.assertEqual(losses("int8"), losses("fp16"))
        self.assertNotEqual(losses("int4"), losses("fp16"))

    def test_an_exact_run_keeps_int8_keys_and_values_where_asked(self):
        said = {}
        for kv_cache in ("fp16", "int8"):
            result = self.run_well("perplexity", self.model, "--data", self.text, "--window", "100", "--limit", "2",
                                   "--exact", "--kv-cache", kv_cache)
            said[kv_cache] = result.stderr
        self.assertIn("of fp32 keys and values", said["fp16"])
        self.assertIn("of int8 keys and values", said["int8"])

    def test_the_base_runs_without_the_head_and_cache_options(self):
        def score(*arguments):
            result = self.run_well("perplexity", self.model, "--base", self.model, "--data", self.text, "--window",
                                   "100", "--limit", "2", "--json", *arguments)
            return json.loads(result.stdout)[0], result.stderr

        plain = score()[0]
        for option in (("--head", "int8"), ("--head", "int4"), ("--kv-cache", "int8")):
            with self.subTest(option=option):
                row, said = score(*option)
                self.assertEqual(row["base_perplexity"], plain["perplexity"])
                self.assertNotEqual(row["perplexity"], plain["perplexity"])
                self.assertGreater(row["kl_divergence"], 0)
                said_word = "head " + option[1] if option[0] == "--head" else "of int8 keys and values"
                model_line, base_line = [line for line in said.splitlines() if "read per token" in line]
                self.assertIn(said_word, model_line)
                self.assertNotIn(said_word, base_line)

    def test_perplexity_reports_each_text_and_the_base(self):
        # One value a --data, so that MODEL may come after it.
        result = self.run_well("perplexity", "--data", self.text, "--data", self.text, self.small, "--base", self.model,
                               "--window", "100", "--limit", "4", "--json")
        rows = json.loads(result.stdout)
        self.assertEqual(len(rows), 2)
        for row in rows:
            self.assertEqual((row["model"], row["base"], row["data"]), (str(self.small), str(self.model), "text.txt"))
            self.assertEqual((row["windows"], row["predictions"], row["window"]), (4, 4 * 99, 100))
            self.assertGreater(row["perplexity"], 1)
            self.assertGreater(row["standard_error"], 0)
            self.assertGreater(row["kl_divergence"], 0)
        same = json.loads(self.run_well("perplexity", self.model, "--base", self.model, "--data", self.text, "--window",
                                        "100", "--limit", "2", "--json").stdout)[0]
        self.assertEqual((same["kl_divergence"], same["top1_agreement"]), (0, 1))
        table = self.run_well("perplexity", self.model, "--data", self.text, "--window", "100").stdout
        self.assertIn("recipe paper: ", table)

    def test_perplexity_of_self_written_text_needs_no_file(self):
        rows = json.loads(self.run_well("perplexity", self.model, "--data", "self", "--window", "32", "--limit", "2",
                                        "--json").stdout)
        self.assertEqual((rows[0]["data"], rows[0]["windows"]), ("self-written", 2))

    def test_quantize_reports_every_layer(self):
        self.assertEqual((self.report["method"], self.report["group_size"]), ("awq+", 64))
        self.assertEqual([len(layer["steps"]) for layer in self.report["layers"]], [11, 11])
        for line in sum((layer["steps"] for layer in self.report["layers"]), []):
            self.assertLessEqual(line["loss_after"], line["loss_before"])
        files = [path for path in self.small.iterdir() if not path.name.startswith("salient-report")]
        self.assertEqual(self.report["bytes"], sum(path.stat().st_size for path in files))
        self.assertEqual(json.loads((self.small / "salient-report.json").read_text()), self.report)
        page = (self.small / "salient-report.html").read_text()
        for words in ["Error by layer", "Salient inputs", "Weights", "All choices", str(self.small)]:
            self.assertIn(words, page)
        self.assertIsNone(re.search(r"nan|inf\b|src=|href=|<script", page))
        self.assertEqual((self.small / "tokenizer.json").read_bytes(), (self.model / "tokenizer.json").read_bytes())

    def test_quantize_writes_the_same_bytes_whatever_runs_it(self):
        for number, (isa, threads) in enumerate([("scalar", "1"), ("", "1"), ("", "3")]):
            with self.subTest(isa=isa, threads=threads):
                output = self.folder / f"again-{number}"
                self.run_well("quantize", self.model, "--output", output, "--calibration", self.text,
                              "--calibration-tokens", "64", "--threads", threads, env={"SALIENT_ISA": isa} if isa else {})
                for name in ("model.safetensors", "config.json"):
                    self.assertEqual((output / name).read_bytes(), (self.small / name).read_bytes())

    def test_a_dry_run_says_what_the_run_would_take_and_writes_nothing(self):
        output = self.folder / "dry"
        result = self.run_well("quantize", self.model, "--output", output, "--dry-run", "--json")
        expected = json.loads(result.stdout)
        self.assertFalse(output.exists() or output.with_name("dry.partial").exists())
        written = (self.small / "model.safetensors").stat().st_size
        self.assertLess(abs(expected["bytes"] - written), 0.05 * written)
        self.assertGreater(expected["memory"], 0)
        self.assertEqual(expected["flop"].keys(), self.report["stage_seconds"].keys())
        self.assertGreater(min(flop for stage, flop in expected["flop"].items() if stage != "other"), 0)
        self.assertAlmostEqual(sum(self.report["stage_seconds"].values()), self.report["seconds"], delta=0.01)
        text = self.run_well("quantize", self.model, "--output", output, "--dry-run").stdout
        self.assertIn("after the model has written its text", text)

    def test_quantize_takes_documents(self):
        folder = self.folder / "documents"
        folder.mkdir()
        (folder / "a.txt").write_text("a short document")
        (folder / "b.md").write_text("b" * 150)
        turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
        lines = [json.dumps(line) for line in ({"text": "in a line"}, {"messages": turns})]
        (folder / "c.jsonl").write_text("\n".join(lines))
        for name, source, tokens, documents in [
                # 16 + 150 + 9 bytes, and what the template makes of the turns; 150 are cut in three.
                ("folder", folder, 16 + 150 + 9 + len("user: hi\nassistant: ho\nassistant:"), "6 documents or parts"),
                ("lines", folder / "c.jsonl", 9 + len("user: hi\nassistant: ho\nassistant:"), "2 documents or parts")]:
            result = self.run_well("quantize", self.model, "--output", self.folder / name, "--calibration", source,
                                   "--calibration-tokens", "64", "--method", "awq")
            self.assertIn(f"calibration: {tokens} tokens, {documents} of them", result.stderr)

    def test_quantize_needs_no_calibration_file(self):
        for name, arguments in [("self", ["--calibration-sequences", "4", "--calibration-tokens", "16"]),
                                ("rounded", ["--method", "rtn"])]:
            result = self.run_well("quantize", self.model, "--output", self.folder / name, *arguments)
            self.assertIn("groups of 64", result.stdout)
            self.assertEqual(len(self.generate(self.folder / name)["ids"]), 40)


class InterruptionTest(program.ProgramTest):
    LAYERS = 24

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "model", num_hidden_layers=cls.LAYERS, hidden_size=128,
                                           intermediate_size=256)
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)
        cls.flags = ["--calibration", cls.text, "--calibration-tokens", "128"]
        result = program.run("quantize", cls.model, "--output", cls.folder / "whole", *cls.flags)
        assert result.returncode == 0, result.stderr

    def interrupt(self, output, signal_number):
        """Sends a signal when the first layer is done; returns exit code and what came on standard error."""
        arguments = [program.PROGRAM, "quantize", self.model, "--output", output, *self.flags]
        with subprocess.Popen(arguments, env=program.environment(), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            before = ""
            for line in process.stderr:
                before += line
                if line.startswith("quantizing 1/"):
                    break
            process.send_signal(signal_number)
            stdout, rest = process.communicate(timeout=60)
        self.assertFalse(output.exists())
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, before + rest)

    def resume_and_compare(self, output):
        result = self.run_well("quantize", self.model, "--output", output, *self.flags, "--resume", "--json")
        resumed = json.loads(result.stdout)["resumed_layers"]
        self.assertGreaterEqual(resumed, 1)
        self.assertLess(resumed, self.LAYERS)
        whole = self.folder / "whole"
        self.assertEqual(sorted(path.name for path in output.iterdir()), sorted(path.name for path in whole.iterdir()))
        for path in whole.iterdir():
            if path.name.startswith("salient-report"):
                continue  # it says how long everything took
            self.assertEqual((output / path.name).read_bytes(), path.read_bytes(), path.name)

    def test_ctrl_c_and_sigterm_say_how_to_go_on_and_resume_gives_the_same_bytes(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            output = self.folder / f"interrupted-{number}"
            self.expect_sentence(self.interrupt(output, number), "interrupted", "--resume")
            self.resume_and_compare(output)

    def test_a_killed_run_can_be_resumed_too(self):
        output = self.folder / "killed"
        self.assertEqual(self.interrupt(output, signal.SIGKILL).returncode, -signal.SIGKILL)
        self.resume_and_compare(output)


if __name__ == "__main__":
    program.main()
