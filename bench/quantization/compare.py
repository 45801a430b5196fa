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

DATA = {"wikitext2": 8, "ptb": 6}  # windows of each
FOLDER = pathlib.Path(__file__).resolve().parent
OFF = {"scale": 0, "search-grids": 0, "compensate": 0, "sweeps": 0, "correction": 0, "shrinkage": 0, "damping": 0}
AWQ = OFF | {"scale": 1, "search-grids": 1}
SHRUNK = {"shrinkage": 0.4, "damping": 0.1}

# What each row changes of awq+, the steps of quantize_steps; a string is another program's algorithm.
ROWS = {
    "rtn": OFF,
    "AutoAWQ": "autoawq",
    "llm-compressor": "llm-compressor",
    "GPTQ": OFF | {"compensate": 1, "damping": 0.01},
    "scales, not of o_proj": OFF | {"scale": 1, "scale-values": 0},
    "scales": OFF | {"scale": 1},
    "awq": AWQ,
    "awq, compensated": AWQ | SHRUNK | {"compensate": 1},
    "awq, descended": AWQ | SHRUNK | {"compensate": 1, "sweeps": 4},
    "awq+": {},
}


def quantize(row, text, flags, output):
    calibration = flags.texts_folder / f"{text}.ids"
    if isinstance(row, str):
        command = [sys.executable, FOLDER / "autoawq.py", flags.model, calibration, output, "--like", row, "--searched",
                   str(flags.searched)]
    else:
        command = [flags.build / "bench/quantization/quantize_steps", flags.model, "--calibration", calibration,
                   "--output", output]
        for name, value in row.items():
            command += [f"--{name}", str(value)]
    subprocess.run(command + ["--group-size", str(flags.group_size)], check=True, stdout=subprocess.DEVNULL)


def score(folders, flags):
    """{folder: {data: scores}}; the base is run once for all of them."""
    scores = {folder: {} for folder in folders}
    for data, windows in DATA.items():
        command = [flags.build / "bench/quantization/score_models", flags.model, *folders, "--data", data, "--data-dir",
                   flags.data_dir, "--limit", str(windows)]
        rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        for folder, row in zip(folders, rows):
            scores[folder][data] = row
    return scores


def measure(rows, flags):
    """{(text, name): scores} of all rows, from WORK_FOLDER where they are there."""
    results, folders = {}, {}
    for text, name in rows:
        safe = name.replace(",", "").replace(" ", "-")
        folder = flags.work / f"{safe}.{'none' if name == 'rtn' else text}.{flags.group_size}"
        record = folder.with_name(folder.name + ".json")
        if record.exists():
            results[text, name] = json.loads(record.read_text())
            continue
        if not folder.exists():
            partial = folder.with_name(folder.name + ".making")
            shutil.rmtree(partial, ignore_errors=True)
            quantize(ROWS[name], text, flags, partial)
            partial.rename(folder)
        folders.setdefault(folder, []).append((text, name))
    if folders:
        for folder, scores in score(list(folders), flags).items():
            folder.with_name(folder.name + ".json").write_text(json.dumps(scores))
            shutil.rmtree(folder)
            for row in folders[folder]:
                results[row] = scores
    return results


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
    parser.add_argument("--searched", type=int, default=1, help="as autoawq.py has it")
    parser.add_argument("--group-size", type=int, default=64)
    flags = parser.parse_args()
    flags.work.mkdir(parents=True, exist_ok=True)
    rows = [(text, name) for text in flags.texts for name in flags.rows]
    results = measure(rows, flags)
    print("| calibration | group | method | data | perplexity | rise of NLL | KL | top-1 agreement |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        for data in DATA:
            print(f"| {row[0]} | {flags.group_size} | {row[1]} | {data} | {columns(results[row][data])} |")


if __name__ == "__main__":
    main()
