"""`salient export` changes no weight that the other format holds: from AutoAWQ to compressed-tensors and back, every
tensor is the same; pip's gguf package reads the same weights from a GGUF file, but for the rounding that was reported."""

import json

import gguf
import numpy
import program
import tiny_model
from safetensors.numpy import load_file


def unpack(words, count):
    """Nibbles of 32-bit words, lowest first along the last axis, `count` of them."""
    shifts = numpy.arange(0, 32, 4, dtype=numpy.uint32)
    nibbles = words.view(numpy.uint32)[..., None] >> shifts & 15
    return nibbles.reshape(*words.shape[:-1], -1)[..., :count].astype(numpy.int32)


def dequantize_awq(tensors, linear, group_size):
    order = numpy.argsort([0, 2, 4, 6, 1, 3, 5, 7])
    codes, zeros = (unpack(tensors[f"{linear}.{part}"], None) for part in ("qweight", "qzeros"))
    codes, zeros = (values.reshape(len(values), -1, 8)[..., order].reshape(values.shape) for values in (codes, zeros))
    zeros, scales = (numpy.repeat(values, group_size, axis=0)
                     for values in (zeros, tensors[f"{linear}.scales"].astype(numpy.float32)))
    return ((codes - zeros) * scales).T


def dequantize_compressed(tensors, linear, group_size):
    outputs, inputs = tensors[f"{linear}.weight_shape"]
    codes = unpack(tensors[f"{linear}.weight_packed"], inputs)
    zeros = unpack(numpy.ascontiguousarray(tensors[f"{linear}.weight_zero_point"].T), outputs).T
    zeros, scales = (numpy.repeat(values, group_size, axis=1)
                     for values in (zeros, tensors[f"{linear}.weight_scale"].astype(numpy.float32)))
    return (codes - zeros) * scales


class ExportTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write_model(cls.folder / "model")
        for form in ("awq", "compressed-tensors"):
            result = program.run("quantize", cls.model, "--output", cls.folder / f"made-{form}", "--method", "rtn",
                                 "--group-size", "32", "--format", form)
            assert result.returncode == 0, result.stderr

    def export(self, source, form):
        output = self.folder / f"{source.name}-to-{form}"
        result = self.run_well("export", source, "--format", form, "--output", output, "--json")
        report = json.loads(result.stdout)
        self.assertEqual((report["bits"], report["group_size"], report["format"]), (4, 32, form))
        return output

    def assert_same_model(self, first, second):
        first_tensors, second_tensors = (load_file(folder / "model.safetensors") for folder in (first, second))
        self.assertEqual(first_tensors.keys(), second_tensors.keys())
        for name, values in first_tensors.items():
            self.assertEqual(values.dtype, second_tensors[name].dtype, name)
            self.assertEqual(values.shape, second_tensors[name].shape, name)
            self.assertEqual(values.tobytes(), second_tensors[name].tobytes(), name)
        # The report of a quantization is not part of the model.
        files = [sorted(path.name for path in folder.iterdir() if not path.name.startswith("salient-report"))
                 for folder in (first, second)]
        self.assertEqual(*files)
        for name in files[0]:
            if name.endswith(".json"):
                self.assertEqual(*(json.loads((folder / name).read_text()) for folder in (first, second)), name)

    def test_there_and_back_again(self):
        awq = self.folder / "made-awq"
        compressed = self.export(awq, "compressed-tensors")
        self.assert_same_model(compressed, self.folder / "made-compressed-tensors")
        self.assert_same_model(awq, self.export(compressed, "awq"))

    def test_both_formats_say_the_same_weights(self):
        awq = load_file(self.folder / "made-awq" / "model.safetensors")
        compressed = load_file(self.folder / "made-compressed-tensors" / "model.safetensors")
        linears = [name.removesuffix(".qweight") for name in awq if name.endswith(".qweight")]
        self.assertEqual(len(linears), 14)
        for linear in linears:
            expected = dequantize_awq(awq, linear, 32)
            numpy.testing.assert_array_equal(dequantize_compressed(compressed, linear, 32), expected, linear)
            original = load_file(self.model / "model.safetensors")[f"{linear}.weight"].astype(numpy.float32)
            self.assertLess(numpy.abs(expected - original).max(), 0.2)

    def export_to_gguf(self, source, name, *flags):
        result = self.run_well("export", source, "--format", "gguf", "--output", self.folder / name, "--json", *flags)
        return json.loads(result.stdout), gguf.GGUFReader(self.folder / name)

    def test_the_gguf_package_reads_the_same_weights(self):
        report, reader = self.export_to_gguf(self.folder / "made-awq", "model.gguf")
        self.assertEqual(report["matrices"]["Q4_1"], 14)
        self.assertLess(report["kl_divergence"], 1e-4)
        awq = load_file(self.folder / "made-awq" / "model.safetensors")
        changes = {change["linear"]: change for change in report["changes"]}
        config = json.loads((self.model / "config.json").read_text())
        names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
                 "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
                 "ffn_down": "mlp.down_proj"}
        compared = 0
        for tensor in reader.tensors:
            part = tensor.name.split(".")[-2]
            if part not in names:
                continue
            linear = f"model.layers.{tensor.name.split('.')[1]}.{names[part]}"
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}.get(part)
            if heads:  # the two rotary halves of each head are interleaved
                values = values.reshape(heads, -1, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
            expected = dequantize_awq(awq, linear, 32)
            steps = numpy.repeat(awq[f"{linear}.scales"].astype(numpy.float32), 32, axis=0).T
            furthest = numpy.abs((values - expected) / steps).max()
            reported = changes[linear]["largest_steps"] if linear in changes else 0
            self.assertAlmostEqual(furthest, reported, delta=1e-5, msg=linear)
            self.assertLess(furthest, 0.01, linear)
            compared += 1
        self.assertEqual(compared, 14)

    def test_exact_refuses_what_gguf_cannot_hold(self):
        output = self.folder / "exact.gguf"
        result = program.run("export", self.folder / "made-awq", "--format", "gguf", "--output", output, "--exact")
        self.expect_sentence(result, self.folder / "made-awq", "GGUF does not hold it exactly", "offsets")
        self.assertEqual(list(self.folder.glob("exact*")), [])

    def test_a_dense_model_becomes_gguf_and_predicts_the_same(self):
        report, reader = self.export_to_gguf(self.model, "dense.gguf", "--exact")
        self.assertEqual(report["changes"], [])
        self.assertEqual(reader.fields["general.architecture"].contents(), "llama")
        texts = [self.run_well("generate", model, "--prompt", "abc", "--max-tokens", "12", "--temperature", "0").stdout
                 for model in (self.model, self.folder / "dense.gguf")]
        self.assertEqual(*texts)

    def test_a_gguf_of_8_bits_becomes_awq_with_its_cost_said(self):
        source = self.folder / "q8.gguf"
        tiny_model.write_gguf(source, q8_0=True)
        output = self.folder / "q8-awq"
        text = self.run_well("export", source, "--format", "awq", "--output", output).stdout
        self.assertIn("14 linears changed, each because it has 8 bits: by 0.", text)
        self.assertIn("KL divergence from the source", text)
        self.expect_sentence(program.run("export", source, "--output", self.folder / "no", "--exact"), "8 bits")

    def test_a_model_that_is_not_quantized_is_refused(self):
        output = self.folder / "refused"
        result = program.run("export", self.model, "--output", output)
        self.expect_sentence(result, self.model, "no quantized linears")
        self.assertEqual(list(self.folder.glob("refused*")), [])

    def test_a_quantized_model_cannot_be_quantized_again(self):
        result = program.run("quantize", self.folder / "made-compressed-tensors", "--output", self.folder / "again",
                             "--method", "rtn")
        self.expect_sentence(result, "quantized already")

    def test_inspect_says_how_it_is_stored(self):
        text = self.run_well("inspect", self.folder / "made-compressed-tensors", "--tensors", "--json").stdout
        description = json.loads(text)
        self.assertEqual((description["format"], description["group_size"]), ("compressed-tensors", 32))
        runs_as = {tensor["name"]: tensor["runs_as"] for tensor in description["tensors"]}
        self.assertEqual(runs_as["model.layers.0.mlp.up_proj.weight_packed"], "int4 in groups of 32")
        self.assertEqual(runs_as["model.layers.0.mlp.up_proj.weight_scale"], "part of int4 in groups of 32")


if __name__ == "__main__":
    program.main()
