"""What a person can get wrong, and what disks and downloads can: one sentence, exit code 1, nothing half-written."""

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile

import numpy
import program
import tiny_model
from safetensors.numpy import load_file, save_file

TEXT = "the quick brown fox jumps over the lazy dog and runs away from all the hounds " * 20


def edit_json(path, **changes):
    """Changes fields of a JSON file; None takes a field out."""
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({field: value for field, value in document.items() if value is not None}))


def edit_header(path, change):
    """Changes the header of a safetensors file in place."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


class BadInputTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.good = tiny_model.write_model(cls.folder / "good")
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)

    def copy(self):
        """A copy of the good model, to be damaged."""
        return shutil.copytree(self.good, pathlib.Path(tempfile.mkdtemp(dir=self.folder)) / "bad")

    def expect(self, arguments, *parts, **options):
        with self.subTest(arguments=arguments):
            return self.expect_sentence(program.run(*arguments, **options), *parts)

    def expect_unreadable(self, model, *parts):
        """Every command must refuse it with the same sentence, and quantize must leave nothing behind."""
        output = self.folder / "output"
        sentences = {self.expect(arguments, *parts) for arguments in [
            ["inspect", model],
            ["generate", model, "--prompt", "a"],
            ["perplexity", model, "--data", self.text],
            ["chat", model],
            ["quantize", model, "--output", output, "--method", "rtn"],
        ]}
        self.assertEqual(len(sentences), 1, sentences)
        self.assertEqual(list(self.folder.glob("output*")), [])


class WeightFileTest(BadInputTest):
    def test_truncated_anywhere(self):
        model = self.copy()
        weights = model / "model.safetensors"
        whole = weights.read_bytes()
        header = int.from_bytes(whole[:8], "little")
        for size in (1, 7, 8, 9, 100, 8 + header - 1, 8 + header, 8 + header + 1, len(whole) // 2, len(whole) - 1):
            weights.write_bytes(whole[:size])
            self.expect(["inspect", model], weights)
        self.expect_unreadable(model, weights, "truncated", "model.")

    def test_header_that_is_corrupt_or_longer_than_the_file(self):
        model = self.copy()
        weights = model / "model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:8] + b"}" + whole[9:])
        self.expect_unreadable(model, weights, "header is not a JSON object")
        for size in (len(whole), 2**40, 2**63, 2**64 - 1):
            weights.write_bytes(size.to_bytes(8, "little") + whole[8:])
            self.expect(["inspect", model], weights, f"header claims {size} bytes", f"only {len(whole) - 8} follow")

    def test_entries_that_make_no_sense(self):
        name = "model.layers.1.mlp.up_proj.weight"
        for field, value, parts in [
            ("dtype", "F8_E4M3", ["dtype F8_E4M3 is not supported"]),
            ("dtype", 3, ["expected dtype, shape and data_offsets"]),
            ("shape", [1 << 40, 1 << 40], ["does not take the"]),
            ("shape", [-1, -1], ["does not take the"]),
            ("data_offsets", [10, 5], ["data_offsets"]),
            ("data_offsets", [0, 1 << 60], ["data_offsets"]),
        ]:
            model = self.copy()
            edit_header(model / "model.safetensors", lambda header, f=field, v=value: header[name].update({f: v}))
            self.expect(["inspect", model], model / "model.safetensors", f"tensor {name}", *parts)

    def test_weights_of_a_type_that_holds_no_weights(self):
        model = self.copy()
        tensors = load_file(model / "model.safetensors")
        tensors["model.norm.weight"] = tensors["model.norm.weight"].astype(numpy.int64)
        save_file(tensors, model / "model.safetensors")
        self.expect_unreadable(model, model, "model.norm.weight", "I64")

    def test_missing_shard(self):
        model = tiny_model.write_model(self.folder / "sharded", shards=3)
        self.run_well("inspect", model)
        shard = model / "model-00002-of-00003.safetensors"
        moved = shard.rename(self.folder / "moved")
        self.expect_unreadable(model, shard, "is missing", "model.safetensors.index.json")
        moved.rename(shard)
        index = model / "model.safetensors.index.json"
        weight_map = json.loads(index.read_text())["weight_map"]
        first = min(weight_map)
        edit_json(index, weight_map={**weight_map, first: "../moved"})
        self.expect(["inspect", model], index, first, "../moved")
        edit_json(index, weight_map={**weight_map, "extra.weight": shard.name})
        self.expect(["inspect", model], shard, "extra.weight")
        edit_json(index, weight_map=None)
        self.expect(["inspect", model], index, "weight_map")

    def test_truncated_gguf(self):
        path = self.folder / "model.gguf"
        data_start = tiny_model.write_gguf(path)
        self.run_well("generate", path, "--prompt", "a", "--max-tokens", "2")
        whole = path.read_bytes()
        for size in (4, 12, 24, 100, 1000, data_start // 2, data_start - 40, data_start, data_start + 1, len(whole) - 5):
            path.write_bytes(whole[:size])
            self.expect(["inspect", path], path, "truncated")
        self.expect_unreadable(path, path, "tensor", "truncated")
        path.write_bytes(whole.replace(b"general.architecture" + b"\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
                                       b"general.architecture" + b"\x08\0\0\0\x05\0\0\0\0\0\0\0mamba"))
        self.expect(["inspect", path], path, "general.architecture", "mamba")

    def test_weight_that_is_no_number(self):
        model = self.copy()
        tensors = load_file(model / "model.safetensors")
        tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = numpy.nan
        save_file(tensors, model / "model.safetensors")
        output = self.folder / "nan-output"
        for method in ("rtn", "awq"):
            self.expect(["quantize", model, "--output", output, "--method", method, "--calibration", self.text], model,
                        "model.layers.1.mlp.up_proj.weight", "nan")
            self.assertFalse(output.exists())

    def test_damaged_quantized_folder(self):
        small = self.folder / "small"
        self.run_well("quantize", self.good, "--output", small, "--method", "rtn")
        tensors = load_file(small / "model.safetensors")
        name = "model.layers.0.mlp.up_proj"
        for part, damage in [("qzeros", None), ("scales", lambda values: values[:, :-8]),
                             ("qweight", lambda values: values.view(numpy.float32))]:
            changed = dict(tensors)
            changed.pop(f"{name}.{part}")
            if damage:
                changed[f"{name}.{part}"] = numpy.ascontiguousarray(damage(tensors[f"{name}.{part}"]))
            save_file(changed, small / "model.safetensors")
            self.expect(["generate", small, "--prompt", "a"], small, f"{name}.{part}")
        edit_json(small / "config.json", quantization_config={"quant_method": "aqlm"})
        self.expect(["generate", small, "--prompt", "a"], small / "config.json", "quant_method", "aqlm")


class ConfigTest(BadInputTest):
    def test_config_that_cannot_be_understood(self):
        for changes, parts in [
            ({"model_type": "gpt9"}, ["model_type", "gpt9"]),
            ({"model_type": None}, ["model_type"]),
            ({"hidden_act": "gelu"}, ["hidden_act", "gelu"]),
            ({"rope_scaling": {"type": "ntk"}}, ["rope_scaling", "ntk"]),
            ({"rope_scaling": {"type": "yarn"}}, ["rope_scaling", "factor is missing"]),
            ({"hidden_size": None}, ["hidden_size", "missing"]),
            ({"hidden_size": "64"}, ["hidden_size", '"64"']),
            ({"num_attention_heads": 0}, ["num_attention_heads", "0"]),
            ({"num_key_value_heads": 3}, ["num_attention_heads", "4", "3"]),
            ({"head_dim": 10**12}, ["head_dim"]),
            ({"rms_norm_eps": -1}, ["rms_norm_eps", "-1"]),
            ({"eos_token_id": "end"}, ["eos_token_id", "end"]),
            ({"tie_word_embeddings": "no"}, ["tie_word_embeddings", "no"]),
        ]:
            model = self.copy()
            edit_json(model / "config.json", **changes)
            self.expect_unreadable(model, model, *parts)

    def test_config_that_disagrees_with_the_tensors(self):
        for changes, parts in [
            ({"hidden_size": 128}, ["model.embed_tokens.weight", "[257, 64]", "[257, 128]"]),
            ({"vocab_size": 300}, ["model.embed_tokens.weight", "[257, 64]", "[300, 64]"]),
            ({"num_hidden_layers": 3}, ["has no tensor model.layers.2."]),
            ({"num_hidden_layers": 1}, ["num_hidden_layers is 1", "model.layers.1."]),
            ({"num_key_value_heads": 4}, ["self_attn.k_proj.weight", "[32, 64]", "[64, 64]"]),
        ]:
            model = self.copy()
            edit_json(model / "config.json", **changes)
            self.expect_unreadable(model, model, *parts)

    def test_files_that_are_missing_or_no_json(self):
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            model = self.copy()
            (model / file).unlink()
            self.expect(["generate", model, "--prompt", "a"], model, file)
        for file in ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"):
            model = self.copy()
            (model / file).write_text("{ not json")
            self.expect(["generate", model, "--prompt", "a"], model, file)
        model = self.copy()
        (model / "tokenizer_config.json").unlink()
        self.expect(["chat", model], model, "has no chat template")

    def test_first_token_that_is_none(self):
        for value in ("<s>", 257, -1, [1]):
            model = self.copy()
            (model / "generation_config.json").write_text(json.dumps({"bos_token_id": value}))
            self.expect(["perplexity", model, "--data", self.text, "--recipe", "llama.cpp"], model, "bos_token_id")
            self.expect(["quantize", model, "--output", self.folder / "output"], model, "bos_token_id")
        model = self.copy()
        (model / "generation_config.json").write_text('{"bos_token_id": null}')
        self.run_well("perplexity", model, "--data", self.text, "--recipe", "llama.cpp", "--window", "32")

    def test_tokenizer_with_more_tokens_than_the_model(self):
        model = tiny_model.write_model(self.folder / "narrow", vocab_size=128, bos_token_id=0)
        text = self.folder / "umlaut.txt"
        text.write_text("Über allen Gipfeln ist Ruh. " * 10)
        self.expect(["generate", model, "--prompt", "Ü"], "token 195", "128")
        self.expect(["perplexity", model, "--data", text, "--window", "32"], model, "token 195", "128")
        self.expect(["quantize", model, "--output", self.folder / "output", "--calibration", text], model,
                    "token 195", "128")


class ArgumentTest(BadInputTest):
    def test_path_that_is_no_model(self):
        missing = self.folder / "missing"
        self.expect_unreadable(missing, missing, "does not exist")
        self.expect_unreadable(self.text, self.text, "neither a model folder nor a GGUF file")
        empty = self.folder / "empty"
        empty.touch()
        self.expect_unreadable(empty, empty, "is empty")
        folder = self.folder / "folder"
        folder.mkdir()
        self.expect_unreadable(folder, folder, "config.json")
        self.expect_unreadable("/dev/null", "/dev/null")

    def test_prompt_and_context(self):
        generate = ["generate", self.good, "--prompt"]
        self.expect([*generate, "a" * 1024], "prompt has 1024 tokens", "context holds 1024")
        self.expect([*generate, "a" * 50, "--context", "40"], "prompt has 50 tokens", "context holds 40", "--context")
        self.expect([*generate, "a", "--context", "1025"], "context is 1025", "1024")
        self.expect([*generate, ""], "prompt is empty")
        self.expect([*generate, "a", "--temperature", "101"], "temperature", "101")
        self.expect([*generate, "a", "--top-p", "1.5"], "top-p", "1.5")
        self.expect([*generate, "a", "--top-p", "0"], "top-p", "0")
        self.expect([*generate, "a"], "SALIENT_ISA=sse9", env={"SALIENT_ISA": "sse9"})
        self.expect_sentence(program.run(*generate, os.fsdecode(b"\xff\xfe")), self.good, "UTF-8")

    def test_perplexity_texts_windows_and_bases(self):
        perplexity = ["perplexity", self.good, "--window", "64"]
        empty = self.folder / "empty.txt"
        empty.touch()
        self.expect([*perplexity, "--data", empty], empty, "is empty")
        self.expect([*perplexity, "--data", self.folder / "none.txt"], self.folder / "none.txt", "cannot be opened")
        self.expect([*perplexity, "--data-dir", self.folder], self.folder / "wiki.test.raw", "does not exist")
        self.expect([*perplexity, "--data", "ptb"], "ptb.test.txt", "--data-dir")
        window = ["context holds 1024 tokens", "window has 2048", "--window"]
        for data in (self.text, "self", "none.txt"):
            self.expect(["perplexity", self.good, "--data", data], self.good, *window)
        short = self.folder / "short.txt"
        short.write_text("too short")
        self.expect([*perplexity, "--data", short], "has 9 tokens", "64")
        self.expect([*perplexity, "--data", self.text, "--stride", "65"], "stride is 65", "64")
        self.expect([*perplexity, "--data", self.text, "--recipe", "papper"], "papper", "sliding")
        other = tiny_model.write_model(self.folder / "other", vocab_size=300)
        self.expect([*perplexity, "--data", self.text, "--base", other], "257", "300")

    def test_calibration(self):
        output = self.folder / "output"
        quantize = ["quantize", self.good, "--output", output]
        empty = self.folder / "nothing.txt"
        empty.touch()
        self.expect([*quantize, "--calibration", empty], empty, "is empty")
        self.expect([*quantize, "--calibration", self.folder / "none"], self.folder / "none", "cannot be opened")
        folder = self.folder / "texts"
        folder.mkdir()
        self.expect([*quantize, "--calibration", folder], folder, "no .txt, .md or .jsonl files")
        lines = self.folder / "lines.jsonl"
        for line, sentence in (("{", "no JSON object"), ('{"title": "x"}', '"text"'),
                               ('{"conversations": [{"from": "tool", "value": "x"}]}', '"tool"')):
            lines.write_text('\n' + line)
            self.expect([*quantize, "--calibration", lines], f"{lines}: line 2: ", sentence)
        for source in (["--calibration", self.text], []):
            self.expect([*quantize, *source, "--calibration-tokens", "1025"], self.good, "context holds 1024", "1025")
        self.assertEqual(list(self.folder.glob("output*")), [])

    def test_a_model_that_cannot_be_quantized(self):
        odd = tiny_model.write_model(self.folder / "odd", intermediate_size=144)
        output = self.folder / "output"
        self.expect(["quantize", odd, "--output", output], "group size 32", "intermediate_size", "144")
        self.expect(["quantize", self.good, "--output", output, "--group-size", "128"], "128", "hidden_size", "64")
        small = self.folder / "small"
        self.run_well("quantize", self.good, "--output", small, "--method", "rtn")
        for method in ("rtn", "awq"):
            self.expect(["quantize", small, "--output", output, "--method", method], small, "quantized already")
        self.assertEqual(list(self.folder.glob("output*")), [])


class OutputTest(BadInputTest):
    def quantize(self, output, *arguments, **options):
        return program.run("quantize", self.good, "--output", output, "--calibration", self.text, *arguments, **options)

    def test_output_that_exists_or_cannot_be_made(self):
        exists = self.folder / "exists"
        exists.mkdir()
        (exists / "mine").write_text("precious")
        self.expect_sentence(self.quantize(exists), exists, "exists already")
        self.expect_sentence(self.quantize(f"{exists}/"), exists, "exists already")
        self.assertEqual([path.name for path in exists.iterdir()], ["mine"])
        self.expect_sentence(self.quantize(self.text), self.text, "exists already")
        for output in (self.text / "below", "/proc/below", "/proc/self/below"):
            self.expect_sentence(self.quantize(output), output, "cannot be made")
        for output in ("", "/"):
            self.expect_sentence(self.quantize(output), "has no name")

    def test_resume_with_other_settings_or_another_text(self):
        output = self.folder / "changed"
        self.expect_sentence(self.limited(output, 50_000), "cannot be written")
        self.expect_sentence(self.quantize(output, "--resume", "--clip", "off"), output, "cannot be resumed", "clip")
        text = self.folder / "changing.txt"
        text.write_text(self.text.read_text().replace("fox", "cat"))
        other = program.run("quantize", self.good, "--output", output, "--calibration", text, "--resume")
        self.expect_sentence(other, output, "cannot be resumed", "calibration")
        self.assertEqual(self.quantize(output).returncode, 0)  # without --resume it starts again

    def limited(self, output, file_size):
        """A run whose files may not grow beyond a size, as on a full disk."""

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        return self.quantize(output, preexec_fn=limit)

    def test_file_that_cannot_grow(self):
        expected = self.folder / "expected"
        self.assertEqual(self.quantize(expected).returncode, 0)
        # The first part does not fit; all parts do, but not the file they are put together in.
        for number, size in enumerate((10_000, 75_000)):
            output = self.folder / f"limited-{number}"
            self.expect_sentence(self.limited(output, size), f"{output}.partial/", "File too large")
            self.assertFalse(output.exists())
            self.assertEqual(self.quantize(output, "--resume").returncode, 0)
            self.assertEqual((output / "model.safetensors").read_bytes(), (expected / "model.safetensors").read_bytes())

    def test_full_disk(self):
        expected = self.folder / "full-expected"
        self.assertEqual(self.quantize(expected).returncode, 0)
        whole = sum(path.stat().st_size for path in expected.iterdir())
        disk = self.folder / "disk"
        disk.mkdir()
        output = disk / "output"
        # No part fits; some do; all do, but not the file they are put together in.
        for size in (16_384, whole * 2 // 3, whole * 3 // 2):
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk]
            if os.geteuid() != 0 or subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
                self.skipTest("mounting a small disk is not allowed here")
            try:
                self.expect_sentence(self.quantize(output), f"{output}.partial", "No space left on device")
                self.assertFalse(output.exists())
                subprocess.run(["mount", "-o", "remount,size=8M", disk], check=True)
                self.assertEqual(self.quantize(output, "--resume").returncode, 0)
                self.assertEqual((output / "model.safetensors").read_bytes(),
                                 (expected / "model.safetensors").read_bytes())
            finally:
                subprocess.run(["umount", disk], check=True)


if __name__ == "__main__":
    program.main()
