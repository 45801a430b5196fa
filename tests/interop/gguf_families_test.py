"""GGUF files of every family, written as llama.cpp's converter writes them, give the logits of transformers.

The models are the tiny ones of the shared test data, with the logits that transformers computed, and a SmolLM3 made
here. In F32 every logit must be within 2e-3; in quantized form Salient must predict what it predicts from a file that
holds the dequantized numbers. Ends with code 77 where the data is not there."""
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
PROBE = ROOT / "build/release/tests/support/model_probe"
TINY = ROOT.parent / "shared/data/tiny"
BOUND = 2e-3
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "phi3": "phi3", "phi": "phi2", "qwen2": "qwen2",
                 "qwen3": "qwen3", "gemma2": "gemma2", "gemma3_text": "gemma3", "smollm3": "smollm3"}


def permute(weights: np.ndarray, heads: int) -> np.ndarray:
    """The rows of each head with its two rotary halves interleaved."""
    rows = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return rows.swapaxes(1, 2).reshape(weights.shape)


def llama3_factors(scaling: dict, theta: float, head_dim: int) -> np.ndarray:
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    original, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    factors = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * theta ** (i / head_dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)


class Model:
    """A Hugging Face folder: its config, and its tensors in fp32."""

    def __init__(self, folder: Path):
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors = {}
        for path in sorted(folder.glob("model*.safetensors")):
            with safe_open(path, "pt") as file:
                self.tensors.update({name: file.get_tensor(name).float().numpy() for name in file.keys()})

    def head_dim(self) -> int:
        return self.config.get("head_dim") or self.config["hidden_size"] // self.config["num_attention_heads"]

    def theta(self, kind: str = "full_attention") -> float:
        parameters = self.config.get("rope_parameters") or {}
        parameters = parameters.get(kind, parameters)
        return parameters.get("rope_theta") or self.config["rope_theta"]


def add_metadata(writer: gguf.GGUFWriter, model: Model) -> None:
    config = model.config
    kind = config["model_type"]
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_file_type(0)
    if kind == "phi":
        writer.add_layer_norm_eps(config["layer_norm_eps"])
        writer.add_rope_dimension_count(int(config["partial_rotary_factor"] * hidden) // heads)
        return
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if kind != "gemma2":
        writer.add_rope_freq_base(model.theta())
    if kind in ("llama", "mistral", "smollm3"):
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(model.head_dim())
    if kind in ("llama", "mistral", "qwen3", "gemma2", "gemma3_text") and config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if kind == "mistral" and config["sliding_window"]:
        writer.add_sliding_window(config["sliding_window"])  # llama.cpp's converter loses it
    if kind == "phi3":
        writer.add_rope_dimension_count(model.head_dim())
        writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])
        writer.add_sliding_window(config["sliding_window"] or 0)
        if config["rope_scaling"]:
            original = config["original_max_position_embeddings"]
            scale = config["max_position_embeddings"] / original
            writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
    if kind.startswith("gemma"):
        writer.add_sliding_window(config["sliding_window"])
    if kind == "gemma3_text":
        # The converter leaves out what every published Gemma 3 has; the tiny one has another pattern.
        writer.add_sliding_window_pattern([layer == "sliding_attention" for layer in config["layer_types"]])
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def add_vocabulary(writer: gguf.GGUFWriter, model: Model) -> None:
    """Any: the tests give token ids."""
    size = model.config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([f"token{i}" for i in range(size)])
    writer.add_token_types([gguf.TokenType.NORMAL] * size)
    writer.add_token_merges(["t o"])


def convert_tensors(model: Model) -> dict[str, np.ndarray]:
    config = model.config
    kind = config["model_type"]
    names = gguf.get_tensor_name_map(next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items()
                                          if name == ARCHITECTURES[kind]), config["num_hidden_layers"])
    converted = {}
    for name, values in model.tensors.items():
        if kind in ("llama", "mistral", "smollm3"):
            if re.search(r"q_proj\.(weight|bias)$", name):
                values = permute(values, config["num_attention_heads"])
            if re.search(r"k_proj\.(weight|bias)$", name):
                values = permute(values, config["num_key_value_heads"])
        if kind.startswith("gemma") and name.endswith("norm.weight"):
            values = values + 1
        converted[names.get_name(name, try_suffixes=(".weight", ".bias"))] = values
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if scaling.get("rope_type") == "llama3":
        converted["rope_freqs.weight"] = llama3_factors(scaling, model.theta(), model.head_dim())
    if scaling.get("long_factor"):
        converted["rope_factors_long.weight"] = np.array(scaling["long_factor"], np.float32)
        converted["rope_factors_short.weight"] = np.array(scaling["short_factor"], np.float32)
    return converted


def write_gguf(path: Path, model: Model, matrix_type: Type, dequantized: bool = False) -> int:
    """Matrices in `matrix_type` where their rows allow it, or in F32 with the numbers that gives. Says how many."""
    writer = gguf.GGUFWriter(path, ARCHITECTURES[model.config["model_type"]])
    add_metadata(writer, model)
    add_vocabulary(writer, model)
    quantized = 0
    for name, values in convert_tensors(model).items():
        fits = values.ndim == 2 and values.shape[1] % gguf.GGML_QUANT_SIZES[matrix_type][0] == 0
        if matrix_type == Type.F32 or not fits:
            writer.add_tensor(name, np.ascontiguousarray(values, np.float32))
            continue
        quantized += 1
        packed = gguf.quants.quantize(np.ascontiguousarray(values, np.float32), matrix_type)
        if dequantized:
            writer.add_tensor(name, gguf.quants.dequantize(packed, matrix_type))
        else:
            writer.add_tensor(name, packed, raw_dtype=matrix_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return quantized


def run(path: Path, ids: list[int], *flags: str) -> np.ndarray:
    ids_file, out = path.with_suffix(".ids"), path.with_suffix(".logits")
    ids_file.write_text("\n".join(map(str, ids)))
    subprocess.run([PROBE, "logits", path, ids_file, out, *flags], check=True)
    return np.fromfile(out, np.float32).reshape(len(ids), -1)


def make_smollm3(folder: Path) -> dict[str, tuple[list[int], np.ndarray]]:
    """A random SmolLM3 of five layers, of which the fourth does not turn, and its logits."""
    from transformers import SmolLM3Config, SmolLM3ForCausalLM
    torch.manual_seed(11)
    config = SmolLM3Config(vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=5,
                           num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
                           rope_parameters={"rope_type": "default", "rope_theta": 2000000.0}, initializer_range=0.15,
                           pad_token_id=3, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
    model = SmolLM3ForCausalLM(config).eval()
    model.save_pretrained(folder)
    prompts = {}
    for length in (1, 48, 120):
        ids = torch.randint(0, 512, (1, length))
        with torch.no_grad():
            prompts[f"len{length}"] = (ids[0].tolist(), model(ids).logits[0].numpy())
    return prompts


def read_goldens(folder: Path) -> dict[str, tuple[list[int], np.ndarray]]:
    prompts = json.loads((folder / "goldens.json").read_text())["prompts"]
    with safe_open(folder / "goldens.safetensors", "np") as file:
        return {f"len{p['len']}": (p["ids"], file.get_tensor(f"logits_len{p['len']}")) for p in prompts}


def compare(folder: Path, goldens: dict, scratch: Path) -> list[str]:
    model = Model(folder)
    failures = []
    path = scratch / f"{folder.name}.gguf"
    write_gguf(path, model, Type.F32)
    worst = max(np.abs(run(path, ids, "--exact") - expected).max() for ids, expected in goldens.values())
    if not worst <= BOUND:
        failures.append(f"{folder.name}: a logit in F32 is {worst:.5f} off, more than {BOUND}")
    line = f"{folder.name:<24}{ARCHITECTURES[model.config['model_type']]:<9}F32 {worst:.1e}"
    ids = max((ids for ids, _ in goldens.values()), key=len)
    for kind in (Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0):
        quantized = write_gguf(path, model, kind)
        ours = run(path, ids, "--exact")
        rounded = run(path, ids)
        write_gguf(path, model, kind, dequantized=True)
        expected = run(path, ids, "--exact")
        difference = np.abs(ours - expected).max()
        if quantized == 0 or difference != 0:
            failures.append(f"{folder.name}: a logit in {kind.name} is {difference:.5f} off that of its own numbers")
        noise = np.sqrt(((rounded - expected) ** 2).mean() / expected.var())
        if not noise < 0.1:
            failures.append(f"{folder.name}: with int8 activations {kind.name} logits are {noise:.3f} off, relatively")
        line += f"  {kind.name} {difference:.0e} int8 {noise:.1e}"
    print(line, flush=True)
    return failures


def main() -> None:
    if not TINY.exists():
        sys.exit(77)
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        for folder in sorted(path for path in TINY.iterdir() if path.is_dir()):
            failures += compare(folder, read_goldens(folder), Path(scratch))
        smollm3 = Path(scratch) / "smollm3"
        failures += compare(smollm3, make_smollm3(smollm3), Path(scratch))
    if failures:
        sys.exit("FAILED: " + "\n".join(failures))


main()
