"""An AutoAWQ folder that Salient makes from a GGUF opens in transformers, through gptqmodel, and predicts the same.

Token ids must be equal, and the most likely token equal wherever its margin is above 0.05."""
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


def main() -> None:
    gguf = os.environ.get("SALIENT_TEST_GGUF")
    if not gguf:
        sys.exit(77)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "awq"
        subprocess.run([SALIENT, "quantize", gguf, "--output", folder, "--calibration", ROOT / "CONTRIBUTING.md",
                        "--calibration-sequences", "8", "--calibration-tokens", "256"], check=True)
        config = AwqConfig(bits=4, group_size=64, zero_point=True, backend="torch_awq")
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu",
                                                     quantization_config=config)
        tokenizer = AutoTokenizer.from_pretrained(folder)

        text_file = Path(scratch) / "text.txt"
        ids_file = Path(scratch) / "ids.txt"
        text_file.write_text(TEXT)
        subprocess.run([PROBE, "encode", folder, text_file, ids_file], check=True)
        ids = [int(line) for line in ids_file.read_text().split()]
        check(ids == tokenizer(TEXT)["input_ids"], "token ids differ")

        logits_file = Path(scratch) / "logits.bin"
        subprocess.run([PROBE, "logits", folder, ids_file, logits_file], check=True)
        ours = np.fromfile(logits_file, np.float32).reshape(len(ids), -1)
        with torch.no_grad():
            theirs = model(torch.tensor([ids])).logits[0].float().numpy()
        best_two = np.sort(theirs, axis=1)[:, -2:]
        clear = best_two[:, 1] - best_two[:, 0] > MARGIN
        same = ours.argmax(1) == theirs.argmax(1)
        print(f"{type(model).__name__}: {len(ids)} tokens, same top-1 at {same.sum()}, margin above {MARGIN} at "
              f"{clear.sum()}, largest difference of a logit {np.abs(ours - theirs).max():.3f}")
        check(bool(same[clear].all()), f"top-1 differs at positions {np.flatnonzero(clear & ~same).tolist()}")


main()
