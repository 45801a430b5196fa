"""ONNX folders of the generate() API run in onnxruntime-genai and in Salient, and predict the same.

For every folder in SALIENT_TEST_ONNX (a folder of such folders; without it, those of the shared test data):
- the linears, unpacked from model.onnx by a few lines of numpy, are those of model_probe, bit for bit;
- the logits are those of onnxruntime with fp32 activations (accuracy_level is taken out of the graph), within 2e-3, or
  within what half floats allow where the graph computes in them;
- the 32 greedy tokens of onnxruntime-genai with the same graph are Salient's wherever the margin is clear.

Needs numpy, onnx, safetensors and onnxruntime-genai (tested with 0.18.0)."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import onnxruntime_genai
from onnx import numpy_helper
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBE = ROOT / "build/release/tests/support/model_probe"
FOLDERS = pathlib.Path(os.environ.get("SALIENT_TEST_ONNX", ROOT.parent / "shared/data/onnx"))
MARGIN = 0.01
failures = []


def check(condition, sentence):
    if not condition:
        failures.append(sentence)
        print("  FAILED:", sentence)


def attributes(node):
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


class Graph:
    def __init__(self, folder, config):
        self.path = folder / config["model"]["decoder"]["filename"]
        self.model = onnx.load(self.path)
        self.tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        self.linears = {}
        for node in self.model.graph.node:
            parts = node.name.split("/")
            if "layers" not in node.name or not parts[-1].startswith("MatMul"):
                continue
            layer = parts[2].split(".")[1]
            self.linears[f"{layer}.{parts[4]}"] = self.weights(node)

    def weights(self, node):
        """fp32 [N, K] of a MatMulNBits or MatMul node."""
        if node.op_type == "MatMul":
            return self.tensors[node.input[1]].astype(np.float32).T
        given = attributes(node)
        bits, rows, columns, size = given["bits"], given["N"], given["K"], given["block_size"]
        blocks = -(-columns // size)

        def codes(packed, count):
            packed = packed.reshape(rows, -1)
            if bits == 8:
                return packed[:, :count].astype(np.int32)
            return np.stack([packed & 15, packed >> 4], axis=2).reshape(rows, -1)[:, :count].astype(np.int32)

        scales = self.tensors[node.input[2]].astype(np.float32).reshape(rows, blocks)
        zeros = np.full((rows, blocks), 2 ** (bits - 1))
        if len(node.input) > 3 and node.input[3]:
            zeros = codes(self.tensors[node.input[3]], blocks)
        numbers = codes(self.tensors[node.input[1]], blocks * size)
        numbers = (numbers - np.repeat(zeros, size, axis=1)).astype(np.float32) * np.repeat(scales, size, axis=1)
        return numbers[:, :columns]

    def linear(self, layer, name):
        """What transformers calls self_attn.q_proj and the like."""
        found, config = self.linears, self.shape
        name = name.split(".")[1]
        if name in ("q_proj", "k_proj", "v_proj") and f"{layer}.qkv_proj" in found:
            ends = np.cumsum([config["heads"], config["kv_heads"], config["kv_heads"]]) * config["head_size"]
            return np.split(found[f"{layer}.qkv_proj"], ends[:2])[("q_proj", "k_proj", "v_proj").index(name)]
        if name in ("gate_proj", "up_proj") and f"{layer}.gate_up_proj" in found:
            return np.split(found[f"{layer}.gate_up_proj"], 2)[("gate_proj", "up_proj").index(name)]
        if f"{layer}.{name}" in found:
            return found[f"{layer}.{name}"]
        parts = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}[name]
        return np.concatenate([found[f"{layer}.{part}"] for part in parts])


def exact_session(graph, scratch):
    """onnxruntime on the graph without accuracy_level (activations stay in floats) and with the usual cache."""
    for node in graph.model.graph.node:
        for attribute in list(node.attribute):
            if attribute.name in ("accuracy_level", "sliding_window_cache"):
                node.attribute.remove(attribute)
    path = pathlib.Path(scratch) / "exact.onnx"
    onnx.save(graph.model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def reference_logits(session, ids):
    feeds = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
    for value in session.get_inputs():
        if value.name == "position_ids":
            feeds[value.name] = np.arange(len(ids))[None]
        elif value.name.startswith("past_key_values"):
            dtype = np.float16 if value.type == "tensor(float16)" else np.float32
            size = value.shape[3] if isinstance(value.shape[3], int) else reference_logits.head_size
            feeds[value.name] = np.zeros((1, value.shape[1], 0, size), dtype)
    return session.run(["logits"], feeds)[0][0].astype(np.float32)


def probe(scratch, *arguments):
    result = subprocess.run([PROBE, *map(str, arguments)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip())


def salient_logits(folder, ids, scratch):
    ids_file, logits_file = pathlib.Path(scratch) / "ids", pathlib.Path(scratch) / "logits"
    ids_file.write_text("\n".join(map(str, ids)))
    probe(scratch, "logits", folder, ids_file, logits_file, "--exact")
    return np.fromfile(logits_file, np.float32).reshape(len(ids), -1)


def greedy_tokens(folder, config, ids, scratch):
    """Those of the exact graph, on the CPU whatever the folder was made for."""
    copy = pathlib.Path(scratch) / "cpu"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    config = json.loads(json.dumps(config))
    config["model"]["decoder"]["session_options"]["provider_options"] = []
    (copy / "genai_config.json").unlink()
    (copy / "genai_config.json").write_text(json.dumps(config))
    graph = copy / config["model"]["decoder"]["filename"]
    graph.unlink()
    graph.symlink_to(pathlib.Path(scratch) / "exact.onnx")
    model = onnxruntime_genai.Model(str(copy))
    params = onnxruntime_genai.GeneratorParams(model)
    params.set_search_options(max_length=len(ids) + 32, min_length=len(ids) + 32, do_sample=False)
    generator = onnxruntime_genai.Generator(model, params)
    generator.append_tokens(ids)
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)]


def check_folder(folder, scratch):
    config = json.loads((folder / "genai_config.json").read_text())
    decoder = config["model"]["decoder"]
    graph = Graph(folder, config)
    graph.shape = {"heads": decoder["num_attention_heads"], "kv_heads": decoder["num_key_value_heads"],
                   "head_size": decoder["head_size"]}
    reference_logits.head_size = decoder["head_size"]

    linears_file = pathlib.Path(scratch) / "linears.safetensors"
    probe(scratch, "linears", folder, linears_file)
    linears = load_file(linears_file)
    for name, values in linears.items():
        _, _, layer, part = name.split(".", 3)
        check(graph.linear(layer, part).tobytes() == values.tobytes(), f"{name} differs from the graph's")

    half = any(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16 for value in graph.model.graph.output)
    session = exact_session(graph, scratch)
    vocabulary = config["model"]["vocab_size"]
    differences = []
    for count in (1, 7, 40, 150):
        ids = [int(token) for token in np.random.default_rng(count).integers(5, vocabulary, count)]
        theirs, ours = reference_logits(session, ids), salient_logits(folder, ids, scratch)
        differences.append(np.abs(theirs - ours[-len(theirs):]).max())
        check(differences[-1] < (0.05 if half else 2e-3), f"logits of {count} tokens differ by {differences[-1]}")

    prompt = [int(token) for token in np.random.default_rng(3).integers(5, vocabulary, 9)]
    sequence = greedy_tokens(folder, config, prompt, scratch)
    ours = salient_logits(folder, sequence, scratch)[len(prompt) - 1:-1]
    clear = same = 0
    margin = 0.05 if half else MARGIN
    for logits, token in zip(ours, sequence[len(prompt):]):
        eos = config["model"]["eos_token_id"]
        logits[eos] = -np.inf  # min_length forbids it there
        same += logits.argmax() == token
        clear += np.diff(np.sort(logits)[-2:])[0] > margin
        check(logits.argmax() == token or logits.max() - logits[token] < margin, f"greedy token {token} is not ours")
    print(f"{folder.name}: {len(linears)} linears equal, logits differ by at most {max(differences):.2g}, "
          f"{same} of {len(ours)} greedy tokens equal, {clear} of them clear")


def main():
    folders = sorted(path.parent for path in FOLDERS.glob("*/genai_config.json"))
    if not folders or not PROBE.exists():
        print(f"{FOLDERS} has no ONNX folders, or {PROBE} has not been built")
        sys.exit(77)
    for folder in folders:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                check_folder(folder, scratch)
            except RuntimeError as error:
                check(False, f"{folder.name}: {error}")
    print(f"{len(folders)} folders, {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
