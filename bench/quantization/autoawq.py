"""AutoAWQ's algorithm, and llm-compressor's, as they are written, for models of the Llama family.

usage: autoawq.py MODEL_FOLDER CALIBRATION.ids OUTPUT_FOLDER [--group-size 64] [--like autoawq|llm-compressor]
                  [--searched N]

A re-implementation to be compared with (of AutoAWQ 0.2.9's awq/quantize/quantizer.py, and of llm-compressor's AWQ
modifier of August 2026 followed by rounding): same scale groups, grids, losses, clipping and rounding. It writes an
AutoAWQ "gemm" folder. Where AutoAWQ computes in fp16 on a GPU, the outputs that the search compares are bf16 here and
everything before and after fp32; the last rounding is in fp16, as its is. All tokens count but in the search for
clipping, which samples 512 as AutoAWQ does, and where --searched leaves texts out of the comparison of outputs. The
loss of a single linear is summed through the Gram matrix of its inputs, which is the same number.

Where both agree: the scales of q, k and v are judged by the attention's output, those of gate and up by the MLP's, that
of down by its own; o_proj is left out under grouped-query attention; statistics are those of the unquantized model.
"""
import argparse
import copy
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
LINEARS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
           "mlp.up_proj", "mlp.down_proj"]


def pseudo_quantize(weight, group_size):
    """AutoAWQ's pseudo_quantize_tensor: the rounded weights, scales and zero points."""
    groups = weight.reshape(-1, group_size)
    largest = groups.amax(dim=1, keepdim=True)
    smallest = groups.amin(dim=1, keepdim=True)
    scales = (largest - smallest).clamp(min=1e-5) / 15
    zeros = (-torch.round(smallest / scales)).clamp_(0, 15)
    rounded = (torch.clamp(torch.round(groups / scales) + zeros, 0, 15) - zeros) * scales
    rows = weight.shape[0]
    return rounded.reshape(weight.shape), scales.view(rows, -1), zeros.view(rows, -1)


def candidates(like):
    """(ratio, with weights) in the order they are tried; None is the identity."""
    if like == "autoawq":
        return [(i / 20, True) for i in range(20)]
    return [None] + [(i / 9, duo) for i in range(10) for duo in (True, False)]


def scales_of(candidate, x_mean, w_mean):
    if candidate is None:
        return torch.ones_like(x_mean)
    ratio, with_weights = candidate
    scales = x_mean.pow(ratio)
    if with_weights:
        scales = scales / (w_mean.pow(1 - ratio) + 1e-4)
    scales = scales.clamp(min=1e-4)
    scales = scales / (scales.max() * scales.min()).sqrt()
    scales[torch.isinf(scales) | torch.isnan(scales)] = 1
    return scales


def module_loss(module, linears, x, **arguments):
    """The squared error of a module's outputs, as a function of its linears' weights; they are changed in place."""
    run = lambda: (out[0] if isinstance(out := module(x, **arguments), tuple) else out).float()
    expected = run()

    def loss(weights):
        for linear, weight in zip(linears, weights):
            linear.weight.data = weight.bfloat16()
        return (run() - expected).square().sum().item()

    return loss


def linear_loss(linear, x):
    original, gram = linear.weight.data, x.t() @ x

    def loss(weights):
        delta = weights[0] - original
        return ((delta @ gram) * delta).sum().item()

    return loss


class Search:
    def __init__(self, like, group_size):
        self.like = like
        self.group_size = group_size

    def best_scales(self, linears, x, loss):
        """The scales of the linears' inputs x [tokens, inputs] with the least loss."""
        weights = torch.cat([linear.weight for linear in linears])
        grouped = weights.reshape(-1, self.group_size)
        w_mean = (grouped.abs() / (grouped.abs().amax(dim=1, keepdim=True) + 1e-6)).view(weights.shape).mean(0)
        x_mean = x.abs().mean(0)
        best, best_loss = None, float("inf")
        for candidate in candidates(self.like):
            scales = scales_of(candidate, x_mean, w_mean)
            found = loss([pseudo_quantize(linear.weight * scales, self.group_size)[0] / scales for linear in linears])
            if found < best_loss:
                best, best_loss = scales, found
        return best

    def clip(self, linear, tokens):
        """AutoAWQ's _compute_best_clip: 1, 0.95 ... 0.55 of each group's largest magnitude, on 512 tokens."""
        weight = linear.weight.data
        rows, columns = weight.shape
        step = max(1, tokens.shape[0] // 512)
        x = tokens[0:: step].reshape(-1, columns // self.group_size, self.group_size)
        blocks = torch.einsum("tgi,tgj->gij", x, x)
        grouped = weight.reshape(rows, -1, self.group_size)
        largest = grouped.abs().amax(dim=-1, keepdim=True)
        best_max = largest.clone()
        best_loss = torch.full_like(largest, 1e9)
        for i in range(10):
            bound = largest * (1 - i / 20)
            clipped = torch.clamp(grouped, -bound, bound)
            delta = pseudo_quantize(clipped.reshape(rows, columns), self.group_size)[0].reshape(grouped.shape) - grouped
            # The mean over tokens of the squared difference of the group's outputs.
            loss = (torch.einsum("rgi,gij->rgj", delta, blocks) * delta).sum(-1, keepdim=True) / x.shape[0]
            better = loss < best_loss
            best_loss[better] = loss[better]
            best_max[better] = bound[better]
        linear.weight.data = torch.clamp(grouped, -best_max, best_max).reshape(rows, columns)


def scale_norm(norm, linears, scales):
    norm.weight.data /= scales
    for linear in linears:
        linear.weight.data *= scales


def quantize_layer(layer, hidden, positions, search, searched):
    """Scales and clips the layer in place; returns its outputs from before that. `hidden` is [texts, tokens, size]."""
    attention, mlp = layer.self_attn, layer.mlp
    attention_inputs = layer.input_layernorm(hidden)
    o_inputs = []
    hook = attention.o_proj.register_forward_pre_hook(lambda module, args: o_inputs.append(args[0]))
    middle = hidden + attention(attention_inputs, attention_mask=None, position_embeddings=positions)[0]
    hook.remove()
    mlp_inputs = layer.post_attention_layernorm(middle)
    down_inputs = mlp.act_fn(mlp.gate_proj(mlp_inputs)) * mlp.up_proj(mlp_inputs)
    outputs = middle + mlp.down_proj(down_inputs)
    flat = lambda x: x.reshape(-1, x.shape[-1])

    qkv = [attention.q_proj, attention.k_proj, attention.v_proj]
    # As in both, all scales are searched on the layer as it was, then applied.
    half = copy.deepcopy(layer).bfloat16()
    attention_loss = module_loss(
        half.self_attn, [half.self_attn.q_proj, half.self_attn.k_proj, half.self_attn.v_proj],
        attention_inputs[::searched].bfloat16(), attention_mask=None,
        position_embeddings=[x.bfloat16() for x in positions])
    mlp_loss = module_loss(half.mlp, [half.mlp.gate_proj, half.mlp.up_proj], mlp_inputs[::searched].bfloat16())
    found = [search.best_scales(qkv, flat(attention_inputs), attention_loss),
             search.best_scales([mlp.gate_proj, mlp.up_proj], flat(mlp_inputs), mlp_loss),
             search.best_scales([mlp.down_proj], flat(down_inputs), linear_loss(mlp.down_proj, flat(down_inputs)))]
    scale_norm(layer.input_layernorm, qkv, found[0])
    scale_norm(layer.post_attention_layernorm, [mlp.gate_proj, mlp.up_proj], found[1])
    mlp.up_proj.weight.data /= found[2].view(-1, 1)
    mlp.down_proj.weight.data *= found[2]

    if search.like == "autoawq":
        search.clip(attention.v_proj, flat(attention_inputs) / found[0])
        search.clip(attention.o_proj, flat(o_inputs[0]))
        for linear in (mlp.gate_proj, mlp.up_proj):
            search.clip(linear, flat(mlp_inputs) / found[1])
        search.clip(mlp.down_proj, flat(down_inputs) / found[2])
    return outputs


def pack(rows):
    """Integers 0..15, [out, n], as AutoAWQ's int32 words, [n, out / 8]."""
    columns = rows.t().contiguous().to(torch.int64)
    words = torch.zeros(columns.shape[0], columns.shape[1] // 8, dtype=torch.int64)
    for nibble, place in enumerate(ORDER):
        words |= columns[:, place::8] << (4 * nibble)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def packed_tensors(prefix, weight, group_size):
    half = weight.half()
    rounded, scales, zeros = pseudo_quantize(half, group_size)
    repeat = lambda t: t.repeat_interleave(group_size, dim=1)
    codes = torch.round((rounded + repeat(zeros * scales)) / repeat(scales)).to(torch.int64)
    assert codes.min() >= 0 and codes.max() <= 15
    return {f"{prefix}.qweight": pack(codes), f"{prefix}.qzeros": pack(zeros.to(torch.int64)),
            f"{prefix}.scales": scales.t().contiguous().half()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("calibration", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--group-size", type=int, default=64)
    parser.add_argument("--like", choices=["autoawq", "llm-compressor"], default="autoawq")
    parser.add_argument("--searched", type=int, default=1, help="compare outputs on every n-th text only")
    parser.add_argument("--layers", type=int, help="stop after as many; for trying the program")
    flags = parser.parse_args()
    torch.set_grad_enabled(False)
    model = AutoModelForCausalLM.from_pretrained(flags.model, dtype=torch.float32, attn_implementation="sdpa")
    config = model.config
    assert config.num_key_value_heads != config.num_attention_heads, "o_proj would have to be scaled"
    texts = torch.tensor([[int(token) for token in line.split()] for line in open(flags.calibration)])
    hidden = model.model.embed_tokens(texts)
    positions = model.model.rotary_emb(hidden, torch.arange(texts.shape[1])[None])
    search = Search(flags.like, flags.group_size)
    tensors = {}
    for i, layer in enumerate(model.model.layers[: flags.layers]):
        hidden = quantize_layer(layer, hidden, positions, search, flags.searched)
        for name in LINEARS:
            weight = layer.get_submodule(name).weight.data
            tensors |= packed_tensors(f"model.layers.{i}.{name}", weight, flags.group_size)
        print(f"layer {i + 1} of {len(model.model.layers)}", flush=True)
    if flags.layers:
        return
    for name, tensor in model.state_dict().items():
        if not any(linear in name for linear in LINEARS) and name != "lm_head.weight":
            tensors[name] = tensor.half().contiguous()
    flags.output.mkdir(parents=True)
    save_file(tensors, flags.output / "model.safetensors", metadata={"format": "pt"})
    for file in flags.model.glob("*.json"):
        shutil.copy(file, flags.output / file.name)
    settings = json.loads((flags.model / "config.json").read_text())
    settings["torch_dtype"] = "float16"
    settings["quantization_config"] = {"quant_method": "awq", "zero_point": True, "group_size": flags.group_size,
                                       "bits": 4, "version": "gemm", "modules_to_not_convert": None}
    (flags.output / "config.json").write_text(json.dumps(settings, indent=2))


if __name__ == "__main__":
    main()
