"""What quantizing a model of a known shape takes, from one or two layers of random weights: seconds and GFLOPS by stage.

usage: layer_cost.py SHAPE WORK_FOLDER [--build build/release] [--sequences 48 128] [--methods awq awq+] [--layers 2]

SHAPE is one of those below. The whole model's time is extrapolated by its number of layers, that of the forward passes by
theirs; that of the calibration text, which the model writes itself, from models of one layer and of two. Memory is the peak of the process, the mapped
checkpoint's pages included.
"""
import argparse
import json
import os
import pathlib
import subprocess
import time

import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parent
TOKENS = 512
# Of the model that is quantized: embeddings and head are written once, not with each layer.
SMALL_VOCABULARY = 1000
SHAPES = {
    "phi-3-mini": {"hidden_size": 3072, "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 32,
                   "vocab_size": 32064, "layers": 32},
    "mistral-7b": {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
                   "vocab_size": 32000, "layers": 32},
    "llama-1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8,
                 "vocab_size": 32000, "layers": 16},
}
METHODS = {"awq": ["--compensate", "0", "--sweeps", "0", "--correction", "0", "--shrinkage", "0", "--damping", "0"],
           "awq+": []}


def write_model(folder, shape, layers):
    """A llama of random weights; whether linears are stored fused does not change what is computed."""
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    keys = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    random = torch.Generator().manual_seed(1)

    def matrix(rows, columns):
        return (torch.randn(rows, columns, generator=random) * columns ** -0.5).to(torch.bfloat16)

    tensors = {"model.embed_tokens.weight": matrix(shape["vocab_size"], hidden),
               "lm_head.weight": matrix(shape["vocab_size"], hidden), "model.norm.weight": torch.ones(hidden)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        tensors |= {prefix + "input_layernorm.weight": torch.ones(hidden),
                    prefix + "post_attention_layernorm.weight": torch.ones(hidden)}
        for name, rows, columns in [("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", keys, hidden),
                                    ("self_attn.v_proj", keys, hidden), ("self_attn.o_proj", hidden, hidden),
                                    ("mlp.gate_proj", inner, hidden), ("mlp.up_proj", inner, hidden),
                                    ("mlp.down_proj", hidden, inner)]:
            tensors[prefix + name + ".weight"] = matrix(rows, columns)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = {key: value for key, value in shape.items() if key != "layers"}
    (folder / "config.json").write_text(json.dumps(config | {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": layers, "hidden_act": "silu",
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "bos_token_id": 1}))


def run(*command):
    """Output, seconds and peak memory of a program."""
    start = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} ended with {status}")
    return output, time.monotonic() - start, usage.ru_maxrss * 1024


def write_text(program, work, shape):
    """Writes the calibration text with two layers; the seconds that the whole model would take."""
    seconds = []
    for layers in (1, 2):
        folder = work / f"{layers}-layers"
        if not folder.exists():
            write_model(folder, shape, layers)
        seconds.append(run(program, folder, "--self-text", work / "self.ids")[1])
    return seconds[0] + (shape["layers"] - 1) * max(seconds[1] - seconds[0], 0)


def forward_passes(method, layers):
    """Of the calibration text; awq+ takes it through the quantized layers too, but for the last, which nothing follows."""
    return 3 * layers - 1 if method == "awq+" else layers


def extrapolate(report, method, layers, all_layers):
    """{stage: (seconds, flop)} of the whole model."""
    stages = {}
    for stage, seconds in report["stage_seconds"].items():
        times = all_layers / layers
        if stage == "calibration":
            times = forward_passes(method, all_layers) / forward_passes(method, layers)
        stages[stage] = (seconds * times, report["stage_flop"][stage] * times)
    return stages


def print_stages(stages, report, layers):
    print("| stage | seconds a layer | Gflop a layer | GFLOPS |\n|---|---|---|---|")
    for stage, (seconds, flop) in stages.items():
        rate = f"{flop / seconds / 1e9:.0f}" if flop else ""
        print(f"| {stage} | {seconds / layers:.2f} | {flop / layers / 1e9:.0f} | {rate} |")
    seconds, flop = map(sum, zip(*stages.values()))
    rates = [rate / 1e9 for rate in report["flop_per_second"]]
    print(f"| all | {seconds / layers:.2f} | {flop / layers / 1e9:.0f} | {flop / seconds / 1e9:.0f}, "
          f"{100 * flop / seconds / max(report['flop_per_second']):.0f} % of what products of matrices reach "
          f"({rates[0]:.0f} before, {rates[1]:.0f} after) |\n", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=FOLDER.parent.parent / "build/release")
    parser.add_argument("--sequences", type=int, nargs="+", default=[48, 128])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--layers", type=int, choices=[1, 2], default=2, help="of the model that is quantized")
    flags = parser.parse_args()
    shape = SHAPES[flags.shape]
    program = flags.build / "bench/quantization/quantize_steps"
    text_seconds = write_text(program, flags.work, shape)
    print(f"{flags.shape}: writing 48 x {TOKENS} tokens of calibration text: {text_seconds / 60:.1f} min, extrapolated\n",
          flush=True)
    model = flags.work / f"{flags.layers}-layers-quantized"
    if not model.exists():
        write_model(model, shape | {"vocab_size": SMALL_VOCABULARY}, flags.layers)
    for sequences in flags.sequences:
        tokens = torch.randint(SMALL_VOCABULARY, (sequences, TOKENS), generator=torch.Generator().manual_seed(2))
        ids = flags.work / "random.ids"
        ids.write_text("".join(" ".join(map(str, row)) + "\n" for row in tokens.tolist()))
        for method in flags.methods:
            output = flags.work / "output"
            report, _, memory = run(program, model, "--calibration", ids, "--output", output, "--group-size", 128,
                                    *METHODS[method])
            for path in output.iterdir():
                path.unlink()
            output.rmdir()
            report = json.loads(report)
            stages = extrapolate(report, method, flags.layers, shape["layers"])
            whole = sum(seconds for seconds, _ in stages.values())
            print(f"{flags.shape}, {method}, {sequences} x {TOKENS} tokens: {whole / 60:.1f} min for {shape['layers']} "
                  f"layers, {(whole + text_seconds) / 60:.1f} with the text; peak memory {memory / 2**30:.2f} GiB\n")
            print_stages(stages, report, shape["layers"])


if __name__ == "__main__":
    main()
