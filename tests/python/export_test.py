"""`salient export` changes no weight: from AutoAWQ to compressed-tensors and back, every tensor is the same."""

import json

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
        files = [sorted(path.name for path in folder.iterdir()) for folder in (first, second)]
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
