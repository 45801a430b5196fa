"""Makes the files that the peers run, all of them from one AutoAWQ folder, in models/peers."""

import pathlib
import subprocess

import llama_cpp_peer

ROOT = pathlib.Path(__file__).parents[2]
SALIENT = ROOT / "build/release/salient"
NAMES = ("phi-3-mini", "smollm2-135m")


def salient(*arguments):
    subprocess.run([SALIENT, *map(str, arguments)], check=True)


def make_awq(name, folder):
    if name == "phi-3-mini":
        salient("bench", "--synthetic", name, "--write", folder)
        return
    fetched = subprocess.run([ROOT / "scripts/fetch-smollm2"], check=True, stdout=subprocess.PIPE, text=True)
    # How the weights were rounded makes no difference to speed, and plain rounding takes a second.
    salient("quantize", ROOT / fetched.stdout.strip(), "--output", folder, "--method", "rtn")


def make_q4_0(source, target):
    partial = target.with_suffix(".partial")
    llama_cpp_peer.requantize(source, partial)
    partial.rename(target)


def make(name):
    """The files of a model, made where they are missing, by what they are called in compare.PEERS."""
    folder = ROOT / "models/peers" / name
    folder.mkdir(parents=True, exist_ok=True)
    files = {"awq": folder / "awq", "q4_1": folder / "q4_1.gguf", "q4_0": folder / "q4_0.gguf", "onnx": folder / "onnx"}
    if not files["awq"].exists():
        make_awq(name, files["awq"])
    # Without --limit 0, export would measure the divergence of what it had to round.
    if not files["q4_1"].exists():
        salient("export", files["awq"], "--format", "gguf", "--output", files["q4_1"], "--limit", 0)
    if not files["q4_0"].exists():
        make_q4_0(files["q4_1"], files["q4_0"])
    if not files["onnx"].exists():
        salient("export", files["awq"], "--format", "onnx", "--output", files["onnx"], "--limit", 0)
    return files
