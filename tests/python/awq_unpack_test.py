"""Unpacks the AutoAWQ folders that Salient writes with a few lines of numpy, and compares the weights bit for bit with
those that Salient reads from them, and the codes of plain rounding with its formula."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from safetensors.numpy import load_file, save_file

BUILD = pathlib.Path(__file__).resolve().parents[2] / "build" / "release"
SALIENT = BUILD / "salient"
MODEL_PROBE = BUILD / "tests" / "support" / "model_probe"

VOCABULARY, HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, HEAD_SIZE = 256, 128, 192, 2, 4, 2, 32
LINEARS = {
    "self_attn.q_proj": (HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.k_proj": (KV_HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.v_proj": (KV_HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD_SIZE),
    "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
    "mlp.up_proj": (INTERMEDIATE, HIDDEN),
    "mlp.down_proj": (HIDDEN, INTERMEDIATE),
}
CONFIG = {
    "model_type": "llama", "hidden_act": "silu", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS, "head_dim": HEAD_SIZE, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True, "eos_token_id": 2, "torch_dtype": "float16",
}


def linear_names():
    return [f"model.layers.{layer}.{name}" for layer in range(LAYERS) for name in LINEARS]


def random_model():
    random = np.random.default_rng(5)

    def tensor(mean, deviation, *shape):
        return random.normal(mean, deviation, shape).astype(np.float16)

    tensors = {
        "model.embed_tokens.weight": tensor(0, 1, VOCABULARY, HIDDEN),
        "model.norm.weight": tensor(1, 0.2, HIDDEN),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        tensors[prefix + "input_layernorm.weight"] = tensor(1, 0.2, HIDDEN)
        tensors[prefix + "post_attention_layernorm.weight"] = tensor(1, 0.2, HIDDEN)
        for name, shape in LINEARS.items():
            tensors[prefix + name + ".weight"] = tensor(0, 1.5 / np.sqrt(shape[1]), *shape)
    tensors["model.layers.0.self_attn.q_proj.bias"] = tensor(0, 1, HEADS * HEAD_SIZE)
    # Groups that do not straddle 0, and one without any weight: their grids reach to 0 all the same.
    tensors["model.layers.0.mlp.up_proj.weight"][0] = np.abs(tensors["model.layers.0.mlp.up_proj.weight"][0])
    tensors["model.layers.0.mlp.up_proj.weight"][1] = -np.abs(tensors["model.layers.0.mlp.up_proj.weight"][1])
    tensors["model.layers.0.mlp.up_proj.weight"][2] = 0
    return tensors


def unpack_words(words):
    """[rows, columns / 8] words -> [rows, columns] nibbles: nibble k of a word is column 8 c + (0,2,4,6,1,3,5,7)[k]."""
    nibbles = np.empty((words.shape[0], words.shape[1], 8), np.int32)
    for k, column in enumerate((0, 2, 4, 6, 1, 3, 5, 7)):
        nibbles[:, :, column] = (words.view(np.uint32) >> np.uint32(4 * k)) & 15
    return nibbles.reshape(words.shape[0], -1)


def unpack(tensors, prefix, group_size):
    """Codes [out, in], zero points and scales [out, groups]."""
    words, zeros, scales = (tensors[f"{prefix}.{part}"] for part in ("qweight", "qzeros", "scales"))
    assert words.dtype == np.int32 and zeros.dtype == np.int32 and scales.dtype == np.float16, prefix
    assert zeros.shape == (words.shape[0] // group_size, words.shape[1]), prefix
    assert scales.shape == (words.shape[0] // group_size, words.shape[1] * 8), prefix
    return unpack_words(words).T, unpack_words(zeros).T, scales.T


def dequantize(codes, zeros, scales, group_size):
    zeros, scales = (np.repeat(values, group_size, axis=1) for values in (zeros, scales))
    return (codes - zeros).astype(np.float32) * scales.astype(np.float32)


def round_to_nearest(weights, group_size):
    """The formula of plain rounding: an fp16 scale that spans the group and 0, a zero point, codes 0..15."""
    groups = weights.astype(np.float32).reshape(weights.shape[0], -1, group_size)
    low = np.minimum(groups.min(axis=2), np.float32(0))
    high = np.maximum(groups.max(axis=2), np.float32(0))
    scales = ((high - low) / np.float32(15)).astype(np.float16)
    scales = np.maximum(scales, np.float16(2.0**-24))  # a group of zeros has a scale too
    step = scales.astype(np.float32)
    zeros = np.clip(np.rint(-low / step), 0, 15).astype(np.int32)
    codes = np.clip(np.rint(groups / step[:, :, None]) + zeros[:, :, None], 0, 15).astype(np.int32)
    return codes.reshape(weights.shape), zeros, scales


class AwqUnpack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.weights = random_model()
        (cls.folder / "model").mkdir()
        (cls.folder / "model" / "config.json").write_text(json.dumps(CONFIG))
        save_file(cls.weights, cls.folder / "model" / "model.safetensors")

    def quantize(self, name, *flags):
        """The tensors of the folder that Salient writes, and the linears that it reads from it."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SALIENT_")}
        output = self.folder / name
        for command in (
            [SALIENT, "quantize", self.folder / "model", "--output", output, *flags],
            [MODEL_PROBE, "linears", output, self.folder / f"{name}.safetensors"],
        ):
            result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 0, result.stderr)
        self.config = json.loads((output / "config.json").read_text())
        return load_file(output / "model.safetensors"), load_file(self.folder / f"{name}.safetensors")

    def assert_same_bits(self, first, second, name):
        self.assertEqual(first.dtype, second.dtype, name)
        self.assertEqual(first.shape, second.shape, name)
        self.assertEqual(first.tobytes(), second.tobytes(), name)

    def check_unpacked(self, tensors, read, group_size):
        """Salient reads what the format says, and the folder holds nothing else."""
        self.assertEqual(self.config["quantization_config"], {
            "quant_method": "awq", "zero_point": True, "group_size": group_size, "bits": 4, "version": "gemm",
            "modules_to_not_convert": None,
        })
        expected = {name for name in self.weights if name.removesuffix(".weight") not in linear_names()}
        expected |= {f"{name}.{part}" for name in linear_names() for part in ("qweight", "qzeros", "scales")}
        self.assertEqual(set(tensors), expected)
        self.assertEqual(set(read), set(linear_names()))
        for name in linear_names():
            codes, zeros, scales = unpack(tensors, name, group_size)
            self.assert_same_bits(dequantize(codes, zeros, scales, group_size), read[name], name)

    def check_rounded(self, tensors, group_size):
        for name in linear_names():
            expected = round_to_nearest(self.weights[f"{name}.weight"], group_size)
            for part, found, wanted in zip(("codes", "zeros", "scales"), unpack(tensors, name, group_size), expected):
                np.testing.assert_array_equal(found, wanted, f"{part} of {name}")

    def test_rounding_follows_its_formula(self):
        for group_size, flags in ((64, []), (32, ["--group-size", "32"])):
            with self.subTest(group_size=group_size):
                tensors, read = self.quantize(f"rtn-{group_size}", "--method", "rtn", *flags)
                self.check_unpacked(tensors, read, group_size)
                self.check_rounded(tensors, group_size)

    def test_rounding_keeps_what_is_no_linear(self):
        tensors, _ = self.quantize("rtn-rest", "--method", "rtn")
        for name, values in self.weights.items():
            if name.removesuffix(".weight") not in linear_names():
                self.assert_same_bits(tensors[name], values, name)

    def test_awq_unpacks_to_what_salient_reads(self):
        # Without a calibration text the model writes its own, which needs no tokenizer.
        tensors, read = self.quantize(
            "awq", "--method", "awq", "--calibration-sequences", "4", "--calibration-tokens", "32")
        self.check_unpacked(tensors, read, 64)


if __name__ == "__main__":
    missing = [str(program) for program in (SALIENT, MODEL_PROBE) if not program.exists()]
    if missing:
        print("not built:", ", ".join(missing))
        sys.exit(77)
    unittest.main()
