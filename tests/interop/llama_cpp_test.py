"""GGUF files that Salient writes open in llama.cpp and predict the same there.

Of a model with zero points (Q4_1) the most likely token must be the same wherever its margin is above MARGIN: llama.cpp
rounds activations to int8 in its own way. Of a symmetric one (Q4_0, every weight as it was) 32 greedy tokens too, after a
prompt whose continuation the model is sure of."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from llama_cpp import Llama
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
SALIENT = ROOT / "build/release/salient"
PROBE = ROOT / "build/release/tests/support/model_probe"
MARGIN = 1.0
TEXT = """The steam engine turned heat into motion: water boiled, the vapour pushed a piston, and a wheel turned.
Within a century it had moved looms, ships and trains. "Why?" asked a child; "because it was cheaper," said nobody."""
PROMPT = "Count from one to forty in digits: 1, 2, 3, 4, 5, 6, 7, 8, 9,"
NIBBLES = np.array([0, 2, 4, 6, 1, 3, 5, 7])  # the column of each nibble of an AutoAWQ word


def check(condition, sentence):
    if not condition:
        sys.exit(f"FAILED: {sentence}")


def run(*arguments):
    subprocess.run(list(map(str, arguments)), check=True, capture_output=True)


def unpack(words):
    nibbles = words.view(np.uint32)[..., None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15
    return nibbles[..., np.argsort(NIBBLES)].reshape(len(words), -1).astype(np.int32)


def pack(codes):
    nibbles = codes.reshape(len(codes), -1, 8)[..., NIBBLES].astype(np.uint32) << np.arange(0, 32, 4, dtype=np.uint32)
    return np.bitwise_or.reduce(nibbles, axis=-1).view(np.int32)


def make_symmetric(folder, output):
    """The AutoAWQ folder with each group rounded again around a zero point of 8."""
    shutil.copytree(folder, output)
    tensors = load_file(folder / "model.safetensors")
    for name in [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]:
        scales = tensors[f"{name}.scales"].astype(np.float32)
        codes, zeros = unpack(tensors[f"{name}.qweight"]), unpack(tensors[f"{name}.qzeros"])
        groups = codes.reshape(len(scales), -1, codes.shape[1])
        weights = (groups - zeros[:, None]) * scales[:, None]
        new_scales = np.maximum(np.abs(weights).max(1) / 7, 1e-7).astype(np.float16)
        rounded = np.clip(np.rint(weights / new_scales.astype(np.float32)[:, None]), -8, 7).astype(np.int32) + 8
        tensors[f"{name}.qweight"] = pack(rounded.reshape(codes.shape))
        tensors[f"{name}.qzeros"] = pack(np.full_like(zeros, 8))
        tensors[f"{name}.scales"] = new_scales
    save_file(tensors, output / "model.safetensors", metadata={"format": "pt"})


def salient_logits(model, ids, scratch, *flags):
    ids_file, out = scratch / "ids", scratch / "logits"
    ids_file.write_text("\n".join(map(str, ids)))
    run(PROBE, "logits", model, ids_file, out, *flags)
    return np.fromfile(out, np.float32).reshape(len(ids), -1)


def greedy(model, ids, count):
    model.reset()
    tokens = []
    for token in model.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
        tokens.append(int(token))
        if len(tokens) == count:
            return tokens


def compare(title, folder, scratch, greedy_tokens):
    path = scratch / f"{title}.gguf"
    run(SALIENT, "export", folder, "--format", "gguf", "--output", path, "--limit", "0",
        *(["--exact"] if greedy_tokens else []))
    model = Llama(str(path), n_ctx=512, n_threads=2, verbose=False, logits_all=True)
    text_file, ids_file = scratch / "text", scratch / "text.ids"
    text_file.write_text(TEXT)
    run(PROBE, "encode", path, text_file, ids_file)
    ids = [int(line) for line in ids_file.read_text().split()]
    check(ids == model.tokenize(TEXT.encode(), add_bos=False, special=True), f"{title}: token ids differ")
    model.eval(ids)
    theirs = np.array(model.scores[:len(ids)])
    ours = salient_logits(path, ids, scratch)
    exact = salient_logits(folder, ids, scratch, "--exact")
    two = np.sort(theirs, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] > MARGIN
    for name, logits in (("int8 activations", ours), ("the source, fp32 activations", exact)):
        same = logits.argmax(1) == theirs.argmax(1)
        print(f"{title}: llama.cpp and Salient, {name}: same top-1 at {same.sum()} of {len(ids)}, at {(same & clear).sum()} "
              f"of the {clear.sum()} with a margin above {MARGIN}; root mean square difference of logits "
              f"{np.sqrt(((logits - theirs) ** 2).mean()):.3f} of {theirs.std():.2f}")
        check(not (clear & ~same).any(), f"{title}: top-1 differs at positions {np.flatnonzero(clear & ~same)}")
    if greedy_tokens:
        prompt = model.tokenize(PROMPT.encode(), add_bos=False)
        expected = greedy(model, prompt, greedy_tokens)
        found = list(prompt)
        for _ in range(greedy_tokens):
            found.append(int(salient_logits(path, found, scratch)[-1].argmax()))
        check(found[len(prompt):] == expected, f"{title}: greedy tokens {found[len(prompt):]} and {expected}")
        print(f"{title}: the same {greedy_tokens} greedy tokens")


def main():
    gguf = os.environ.get("SALIENT_TEST_GGUF")
    if not gguf:
        sys.exit(77)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        run(SALIENT, "quantize", gguf, "--output", scratch / "awq", "--method", "rtn", "--group-size", "32")
        compare("asymmetric", scratch / "awq", scratch, 0)
        make_symmetric(scratch / "awq", scratch / "awq-symmetric")
        compare("symmetric", scratch / "awq-symmetric", scratch, 32)


main()
