"""Unpacks the linears of ONNX folders with a few lines of Python that read protobuf, and compares them bit for bit with
those that Salient reads. The folders are the shared test data; without them the test is skipped."""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL_PROBE = ROOT / "build" / "release" / "tests" / "support" / "model_probe"
FOLDERS = ROOT.parent / "shared" / "data" / "onnx"
DTYPES = {1: np.float32, 2: np.uint8, 7: np.int64, 10: np.float16}


def read_number(data, position):
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, position


def fields(data):
    """The fields of a protobuf message: number -> values, which are numbers or bytes."""
    found = collections.defaultdict(list)
    position = 0
    while position < len(data):
        tag, position = read_number(data, position)
        if tag & 7 == 0:
            value, position = read_number(data, position)
        else:
            size, position = read_number(data, position) if tag & 7 == 2 else ({5: 4, 1: 8}[tag & 7], position)
            value = data[position:position + size]
            position += size
        found[tag >> 3].append(value)
    return found


def read_tensor(message, folder):
    tensor = fields(message)
    external = {entry[1][0]: entry[2][0] for entry in map(fields, tensor[13])}
    data = tensor[9][0] if tensor[9] else None
    if external:
        begin, size = int(external[b"offset"]), int(external[b"length"])
        data = (folder / external[b"location"].decode()).read_bytes()[begin:begin + size]
    return tensor[8][0].decode(), None if data is None else np.frombuffer(data, DTYPES[tensor[2][0]])


def unpack(node, tensors):
    """fp32 [N, K] of a MatMulNBits node: (code - 2^(bits - 1)) * scale, the first code in the low half of a byte."""
    attributes = {entry[1][0]: entry[3][0] for entry in map(fields, node[5]) if entry[3]}
    rows, columns, bits, size = (attributes[name] for name in (b"N", b"K", b"bits", b"block_size"))
    _, codes, scales, *zeros = (name.decode() for name in node[1])
    assert not zeros, "the folders have no zero points"
    codes = tensors[codes].reshape(rows, -1)
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=2)
    codes = codes.reshape(rows, -1).astype(np.int32)[:, :columns] - 2 ** (bits - 1)
    scales = np.repeat(tensors[scales].astype(np.float32).reshape(rows, -1), size, axis=1)[:, :columns]
    return codes.astype(np.float32) * scales


def linears_of(folder):
    """The linears by layer and name: {"0.qkv_proj": ...}."""
    graph = fields(fields((folder / "model.onnx").read_bytes())[7][0])
    tensors = dict(read_tensor(message, folder) for message in graph[5])
    found = {}
    for node in map(fields, graph[1]):
        if node[4][0] == b"MatMulNBits" and b"/layers." in node[3][0]:
            parts = node[3][0].decode().split("/")  # "", model, layers.0, attn, q_proj, MatMul_Q4
            found[f"{parts[2].split('.')[1]}.{parts[4]}"] = unpack(node, tensors)
    return found


def rows_of(found, layer, name, decoder):
    """The rows of a linear as transformers calls it, whatever they are joined with in the graph."""
    heads, kv_heads = decoder["num_attention_heads"], decoder["num_key_value_heads"]
    joined = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
    if f"{layer}.{name}" in found:
        return found[f"{layer}.{name}"]
    if name in joined:
        return np.concatenate([found[f"{layer}.{part}"] for part in joined[name]])
    ends = np.cumsum([heads, kv_heads, kv_heads]) * decoder["head_size"]
    return np.split(found[f"{layer}.qkv_proj"], ends[:2])[joined["qkv_proj"].index(name)]


class OnnxUnpack(unittest.TestCase):
    def test_linears_are_those_of_the_graph(self):
        for config_path in sorted(FOLDERS.glob("*/genai_config.json")):
            folder = config_path.parent
            with self.subTest(folder=folder.name), tempfile.TemporaryDirectory() as scratch:
                output = pathlib.Path(scratch) / "linears.safetensors"
                result = subprocess.run([MODEL_PROBE, "linears", folder, output], capture_output=True, text=True,
                                        check=False)
                self.assertEqual(result.returncode, 0, result.stderr)
                decoder = json.loads(config_path.read_text())["model"]["decoder"]
                found, read = linears_of(folder), load_file(output)
                self.assertGreaterEqual(len(read), 4 * decoder["num_hidden_layers"])
                for name, values in read.items():
                    layer, part = name.split(".")[2], name.split(".")[-1]
                    expected = rows_of(found, layer, part, decoder)
                    self.assertEqual(expected.shape, values.shape, name)
                    self.assertEqual(expected.tobytes(), values.tobytes(), name)


if __name__ == "__main__":
    if not MODEL_PROBE.exists() or not list(FOLDERS.glob("*/genai_config.json")):
        print(f"{MODEL_PROBE} has not been built, or {FOLDERS} is not here")
        sys.exit(77)
    unittest.main()
