"""AutoAWQ folders that Salient makes open in transformers, through gptqmodel, and predict the same: of a GGUF, and of the
tiny models beside the project, whose families have fused projections, norms that store the weight less 1, or biases.

Token ids must be equal, and with fp32 activations, as transformers has them, the most likely token wherever its margin is
above 0.05."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, AwqConfig

ROOT = Path(__file__).resolve().parents[2]
SALIENT = ROOT / "build/release/salient"
PROBE = ROOT / "build/release/tests/support/model_probe"
MARGIN = 0.05
TEXT = """The steam engine turned heat into motion: water boiled, the vapour pushed a piston, and a wheel turned.
Within a century it had moved looms, ships and trains. "Why?" asked a child; "because it was cheaper," said nobody.

def area(radius):
    return 3.14159 * radius ** 2  # pi r squared
"""


def check(condition: bool, sentence: str) -> None:
    if not condition:
        sys.exit(f"FAILED: {sentence}")


def compare(name: str, source: Path, scratch: Path, calibration: list) -> None:
    folder = scratch / name
    subprocess.run([SALIENT, "quantize", source, "--output", folder, *calibration], check=True, capture_output=True)
    group_size = json.loads((folder / "config.json").read_text())["quantization_config"]["group_size"]
    config = AwqConfig(bits=4, group_size=group_size, zero_point=True, backend="torch_awq")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu",
                                                 quantization_config=config)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text_file, ids_file, logits_file = (scratch / f"{name}.{part}" for part in ("txt", "ids", "logits"))
    text_file.write_text(TEXT)
    subprocess.run([PROBE, "encode", folder, text_file, ids_file], check=True)
    ids = [int(line) for line in ids_file.read_text().split()]
    check(ids == tokenizer(TEXT)["input_ids"], f"{name}: token ids differ")
    ids = ids[:200]
    ids_file.write_text("\n".join(map(str, ids)))
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0].float().numpy()
    best_two = np.sort(theirs, axis=1)[:, -2:]
    clear = best_two[:, 1] - best_two[:, 0] > MARGIN
    for path, flags in (("exact", ["--exact"]), ("fast", [])):
        subprocess.run([PROBE, "logits", folder, ids_file, logits_file, *flags], check=True)
        ours = np.fromfile(logits_file, np.float32).reshape(len(ids), -1)
        same = ours.argmax(1) == theirs.argmax(1)
        print(f"{name}, {path}: {type(model).__name__}, {len(ids)} tokens, same top-1 at {same.sum()}, margin above "
              f"{MARGIN} at {clear.sum()}, largest difference of a logit {np.abs(ours - theirs).max():.4f}")
        if path == "exact":
            wrong = np.flatnonzero(clear & ~same).tolist()
            check(not wrong, f"{name}: top-1 differs at positions {wrong}")
        elif name == "smollm2":
            # int8 activations are a rounding of their own, which transformers does not have (and random weights do not
            # forgive).
            check(same.mean() > 0.85, f"{name}: with int8 activations only {same.sum()} top-1 agree")


def main() -> None:
    gguf = os.environ.get("SALIENT_TEST_GGUF")
    if not gguf:
        sys.exit(77)
    with tempfile.TemporaryDirectory() as scratch:
        small = ["--calibration-sequences", "8", "--calibration-tokens", "128"]
        compare("smollm2", Path(gguf), Path(scratch), ["--calibration", ROOT / "CONTRIBUTING.md", *small])
        for name in ("phi3-medium", "phi2", "gemma2", "gemma3", "qwen2", "qwen3"):
            tiny = ROOT.parent / "shared" / "data" / "tiny" / name
            if tiny.exists():
                compare(name, tiny, Path(scratch), small)


main()
