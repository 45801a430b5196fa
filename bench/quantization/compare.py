"""Quantizes a model in many ways and scores each against it; prints one table.

usage: compare.py MODEL_FOLDER TEXTS DATA_DIR WORK_FOLDER [--build build/release] [--rows NAME...] [--texts a b c]

TEXTS holds what texts.py made, and a.ids, the text that the model writes itself (`quantize_steps --self-text`).
DATA_DIR holds wiki.test.raw and ptb.test.txt. What is measured is kept in WORK_FOLDER and not measured again.
"""
import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys
import time

FOLDER = pathlib.Path(__file__).resolve().parent
OFF = {"scale": 0, "search-grids": 0, "compensate": 0, "sweeps": 0, "correction": 0}
AWQ = OFF | {"scale": 1, "search-grids": 1}

# What each row changes of awq+, the steps of quantize_steps; a string is another program's algorithm.
ROWS = {
    "rtn": OFF,
    "AutoAWQ": "autoawq",
    "llm-compressor": "llm-compressor",
    "GPTQ": OFF | {"compensate": 1},
    "scales, not of o_proj": OFF | {"scale": 1, "scale-values": 0},
    "scales": OFF | {"scale": 1},
    "awq": AWQ,
    "awq, compensated": AWQ | {"compensate": 1},
    "awq, descended": AWQ | {"compensate": 1, "sweeps": 4},
    "awq+": {},
}


def quantize(row, text, group_size, model, texts, build, output):
    calibration = texts / f"{text}.ids"
    if isinstance(row, str):
        command = [sys.executable, FOLDER / "autoawq.py", model, calibration, output, "--like", row]
    else:
        command = [build / "bench/quantization/quantize_steps", model, "--calibration", calibration, "--output", output]
        for name, value in row.items():
            command += [f"--{name}", str(value)]
    subprocess.run(command + ["--group-size", str(group_size)], check=True, stdout=subprocess.DEVNULL)


def score(build, quantized, model, data, windows, data_dir):
    command = [build / "salient", "perplexity", quantized, "--base", model, "--data", data, "--data-dir", data_dir,
               "--limit", str(windows), "--exact", "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)[0]


def measure(name, text, group_size, flags):
    """The scores of one row, from WORK_FOLDER if they are there."""
    safe = name.replace(",", "").replace(" ", "-")
    path = flags.work / f"{safe}.{text}.{group_size}.json"
    if path.exists():
        return json.loads(path.read_text())
    output = flags.work / f"{safe}.{text}.{group_size}"
    shutil.rmtree(output, ignore_errors=True)
    start = time.monotonic()
    quantize(ROWS[name], text, group_size, flags.model, flags.texts_folder, flags.build, output)
    result = {"seconds": time.monotonic() - start}
    for data, windows in flags.data:
        result[pathlib.Path(data).stem] = score(flags.build, output, flags.model, data, windows, flags.data_dir)
    path.write_text(json.dumps(result))
    shutil.rmtree(output)
    return result


def columns(scores):
    """Perplexity, rise of the negative log-likelihood with the error of its mean over windows, KL and agreement."""
    rises = [a - b for a, b in zip(scores["window_losses"], scores["base_window_losses"])]
    mean = sum(rises) / len(rises)
    error = math.sqrt(sum((rise - mean) ** 2 for rise in rises) / (len(rises) - 1) / len(rises)) if len(rises) > 1 else 0
    return (f"{scores['perplexity']:.3f} ± {scores['standard_error']:.2f} | {mean:.4f} ± {error:.4f} | "
            f"{scores['kl_divergence']:.4f} ± {scores['kl_standard_error']:.4f} | {100 * scores['top1_agreement']:.1f} %")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("texts_folder", type=pathlib.Path)
    parser.add_argument("data_dir", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=FOLDER.parent.parent / "build/release")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--texts", nargs="+", default=["a", "b", "c"])
    parser.add_argument("--group-size", type=int, default=64)
    flags = parser.parse_args()
    flags.data = [("wikitext2", 8), ("ptb", 6)]
    flags.work.mkdir(parents=True, exist_ok=True)
    print("| calibration | group | method | data | perplexity | rise of NLL | KL | top-1 agreement |")
    print("|---|---|---|---|---|---|---|---|")
    for text in flags.texts:
        for name in flags.rows:
            result = measure(name, "none" if name == "rtn" else text, flags.group_size, flags)
            for data, _ in flags.data:
                print(f"| {text} | {flags.group_size} | {name} | {data} | {columns(result[data])} |", flush=True)


if __name__ == "__main__":
    main()
