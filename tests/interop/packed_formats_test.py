"""What GPTQModel and compressed-tensors pack, Salient reads to the bit; what Salient exports, transformers opens.

The weights of a tiny random model are rounded here and packed by the classes of the two projects. Salient must see the
weights that those classes unpack, with scales as fp32 (they would round the product to fp16). Then a folder that Salient
exports as compressed-tensors, or quantizes to it, must predict in transformers what it predicts in Salient."""
import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # it does not load models with fewer

import numpy as np
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from gptqmodel import GPTQModel
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from gptqmodel.quantization import QuantizeConfig
from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module, convert_gptq_v2_to_v1_format_module
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import (AutoModelForCausalLM, CompressedTensorsConfig, LlamaConfig, LlamaForCausalLM,
                          PreTrainedTokenizerFast)

ROOT = Path(__file__).resolve().parents[2]
SALIENT = ROOT / "build/release/salient"
PROBE = ROOT / "build/release/tests/support/model_probe"
MARGIN = 0.02


def check(condition, sentence):
    if not condition:
        sys.exit(f"FAILED: {sentence}")


def make_model():
    torch.manual_seed(3)
    config = LlamaConfig(vocab_size=128, hidden_size=192, intermediate_size=384, num_hidden_layers=2,
                         num_attention_heads=6, num_key_value_heads=2, head_dim=32, max_position_embeddings=256,
                         tie_word_embeddings=False, bos_token_id=0, eos_token_id=1, initializer_range=0.08)
    return LlamaForCausalLM(config).half()


def linears(model):
    return {name: module for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and name.startswith("model.layers.")}


def round_groups(weight, g_idx, bits, symmetric):
    """fp16 scales and zero points [out, groups] of plain rounding. Groups that are all positive have the zero point 0."""
    scales, zeros = [], []
    for group in range(int(g_idx.max()) + 1):
        part = weight[:, g_idx == group].float()
        if symmetric:
            scale = part.abs().amax(1) / (2 ** (bits - 1) - 1)
            zero = torch.full_like(scale, 2 ** (bits - 1))
        else:
            low, high = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
            scale = (high - low) / (2**bits - 1)
            zero = (-low / scale).round()
        scales.append(scale.half().float())
        zeros.append(zero)
    return torch.stack(scales, 1), torch.stack(zeros, 1)


def write_folder(folder, model, tensors, quantization):
    folder.mkdir()
    skipped = {name + ".weight" for name in linears(model)}
    rest = {name: value for name, value in model.state_dict().items() if name not in skipped}
    save_file({name: value.contiguous() for name, value in {**rest, **tensors}.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    config = json.loads(model.config.to_json_string())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))


def check_linears(folder, expected, title):
    """Salient sees exactly these weights."""
    out = folder.parent / (folder.name + ".linears")
    subprocess.run([PROBE, "linears", folder, out], check=True)
    read = load_file(out)
    check(read.keys() == expected.keys(), f"{title}: other linears")
    for name, weight in expected.items():
        check(read[name].shape == weight.shape and torch.equal(read[name], weight), f"{title}: {name} differs")
    print(f"{title}: {len(expected)} linears equal to the bit")


def group_indices(inputs, group_size, order):
    size = inputs if group_size == -1 else group_size
    plain = torch.arange(inputs, dtype=torch.int32) // size
    return plain[torch.randperm(inputs)] if order == "act-order" else plain


def gptq(scratch, name, bits, group_size, symmetric, version, order=None, one_sided=False):
    model = make_model()
    config = QuantizeConfig(bits=bits, group_size=group_size, sym=symmetric, desc_act=order == "act-order",
                            format=version)
    tensors, expected = {}, {}
    for linear_name, linear in linears(model).items():
        if one_sided:
            linear.weight.data[::3] = linear.weight.data[::3].abs()
        g_idx = group_indices(linear.in_features, group_size, order)
        scales, zeros = round_groups(linear.weight.data, g_idx, bits, symmetric)
        packed = TorchLinear(bits=bits, group_size=group_size, sym=symmetric, desc_act=order == "act-order",
                             in_features=linear.in_features, out_features=linear.out_features, bias=False)
        packed.pack(copy.deepcopy(linear).float(), scales, zeros, g_idx)
        if version == "gptq":
            convert_gptq_v2_to_v1_format_module(packed, config)
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            tensors[f"{linear_name}.{part}"] = getattr(packed, part).clone()
        if version == "gptq":
            convert_gptq_v1_to_v2_format_module(packed, bits=bits, pack_dtype=torch.int32)
        packed.scales = packed.scales.float()
        packed.eval()
        expected[linear_name] = packed.dequantize_weight().T.contiguous()
        check(bool((expected[linear_name] - linear.weight.data.float()).abs().max() < 0.2), "the packing went wrong")
    quantization = {**config.to_dict(), "meta": {"quantizer": ["gptqmodel:7.7.0"]}}
    folder = scratch / name
    write_folder(folder, model, tensors, json.loads(json.dumps(quantization, default=str)))
    check_linears(folder, expected, name)
    return folder


def gptq_quantized(scratch, name, **settings):
    """The same of a folder that GPTQModel quantizes and saves itself."""
    make_model().save_pretrained(scratch / "dense")
    vocabulary = Tokenizer(models.WordLevel({f"<{i}>": i for i in range(128)}, unk_token="<2>"))  # it asks for one
    PreTrainedTokenizerFast(tokenizer_object=vocabulary, bos_token="<0>", eos_token="<1>", pad_token="<1>",
                            unk_token="<2>").save_pretrained(scratch / "dense")
    torch.manual_seed(4)
    calibration = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                   for ids in torch.randint(2, 128, (16, 128)).tolist() for ids in [torch.tensor(ids)]]
    config = QuantizeConfig(bits=4, group_size=32, device="cpu", offload_to_disk=False, **settings)
    with torch.enable_grad():
        model = GPTQModel.load(str(scratch / "dense"), config)
        model.quantize(calibration, batch_size=1)
    folder = scratch / name
    model.save(str(folder))
    tensors = load_file(folder / "model.safetensors")
    saved = json.loads((folder / "config.json").read_text())["quantization_config"]
    expected = {}
    for linear_name, linear in linears(make_model()).items():
        packed = TorchLinear(bits=4, group_size=32, sym=saved["sym"], desc_act=saved["desc_act"],
                             in_features=linear.in_features, out_features=linear.out_features, bias=False)
        for part in ("qweight", "qzeros", "scales", "g_idx"):
            setattr(packed, part, tensors[f"{linear_name}.{part}"].clone())
        if saved["checkpoint_format"] == "gptq":
            convert_gptq_v1_to_v2_format_module(packed, bits=4, pack_dtype=torch.int32)
        packed.scales = packed.scales.float()
        packed.eval()
        expected[linear_name] = packed.dequantize_weight().T.contiguous()
    check_linears(folder, expected, name)


def compressed(scratch, name, bits, group_size, symmetric, dtype=torch.float16):
    model = make_model()
    strategy = {"strategy": "channel"} if group_size == -1 else {"strategy": "group", "group_size": group_size}
    scheme = QuantizationScheme(targets=["Linear"], format="pack-quantized",
                                weights=QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, **strategy))
    compressor = BaseCompressor.get_value_from_registry("pack-quantized")
    tensors, expected = {}, {}
    for linear_name, linear in linears(model).items():
        weight = linear.weight.data
        scales, zeros = round_groups(weight, group_indices(weight.shape[1], group_size, None), bits, symmetric)
        state = {"weight": weight.to(dtype), "weight_scale": scales.to(dtype)}
        if not symmetric:
            state["weight_zero_point"] = (zeros - 2 ** (bits - 1)).to(torch.int8)
        packed = compressor.compress(state, scheme)
        for part, value in packed.items():
            tensors[f"{linear_name}.{part}"] = value
        exact = {**packed, "weight_scale": packed["weight_scale"].float()}
        expected[linear_name] = compressor.decompress(exact, scheme)["weight"].contiguous()
        check(bool((expected[linear_name] - weight.float()).abs().max() < 0.2), "the packing went wrong")
    config = QuantizationConfig(config_groups={"group_0": scheme}, format="pack-quantized",
                                quantization_status="compressed", ignore=["lm_head"])
    folder = scratch / name
    write_folder(folder, model, tensors, config.model_dump(mode="json"))
    check_linears(folder, expected, name)
    return folder


def check_export(source, expected_config, **options):
    """The exported folder predicts in transformers, which unpacks it itself, what it predicts in Salient."""
    folder = source.parent / (source.name + "-exported")
    subprocess.run([SALIENT, "export", source, "--format", "compressed-tensors", "--output", folder], check=True)
    written = json.loads((folder / "config.json").read_text())["quantization_config"]
    check(QuantizationConfig(**written).model_dump(mode="json") ==
          QuantizationConfig(**expected_config).model_dump(mode="json"), f"{folder.name}: quantization_config differs")
    check_predictions(folder, **options)


def check_mixed(scratch):
    """So does a model of which some layers have 8 bits."""
    folder = scratch / "mixed"
    subprocess.run([SALIENT, "quantize", os.environ["SALIENT_TEST_GGUF"], "--output", folder, "--format",
                    "compressed-tensors", "--symmetric", "--method", "awq", "--calibration-sequences", "8",
                    "--calibration-tokens", "128", "--target-size", "130MB"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    groups = json.loads((folder / "config.json").read_text())["quantization_config"]["config_groups"]
    check({group["weights"]["num_bits"] for group in groups.values()} == {4, 8}, f"{folder.name}: {list(groups)}")
    check_predictions(folder)


def check_predictions(folder, **options):
    ids = [int(i) for i in np.random.default_rng(1).integers(2, 128, 200)]
    (folder.parent / "ids.txt").write_text("\n".join(map(str, ids)))
    logits_file = folder.parent / "logits.bin"
    subprocess.run([PROBE, "logits", folder, folder.parent / "ids.txt", logits_file, "--exact"], check=True)
    ours = np.fromfile(logits_file, np.float32).reshape(len(ids), -1)
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu",
                                                       output_loading_info=True, **options)
    check(not info["missing_keys"] and not info["unexpected_keys"], f"{folder.name}: {info}")
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0].float().numpy()
    best_two = np.sort(theirs, axis=1)[:, -2:]
    clear = best_two[:, 1] - best_two[:, 0] > MARGIN
    same = ours.argmax(1) == theirs.argmax(1)
    print(f"{folder.name} in {type(model).__name__}: same top-1 at {same.sum()} of {len(ids)}, margin above {MARGIN} "
          f"at {clear.sum()}, largest difference of a logit {np.abs(ours - theirs).max():.5f} "
          f"of {np.abs(theirs).max():.2f}")
    check(clear.sum() > len(ids) / 2 and bool(same[clear].all()), f"{folder.name}: top-1 differs")


def config_of(bits, group_size, symmetric):
    weights = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy="group",
                               group_size=group_size)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, format="pack-quantized")
    return QuantizationConfig(config_groups={"group_0": scheme}, format="pack-quantized",
                              quantization_status="compressed", ignore=["lm_head"]).model_dump(mode="json")


def main():
    with tempfile.TemporaryDirectory() as temporary, torch.no_grad():
        scratch = Path(temporary)
        os.chdir(scratch)  # GPTQModel leaves logs where it runs
        gptq_quantized(scratch, "gptqmodel-act-order-asym", desc_act=True, sym=False)
        gptq_quantized(scratch, "gptqmodel-sym", desc_act=False, sym=True)
        source = gptq(scratch, "gptq-sym-g32", 4, 32, True, "gptq")
        gptq(scratch, "gptq-asym-g64-zero-0", 4, 64, False, "gptq", one_sided=True)
        gptq(scratch, "gptq-v2-act-order", 4, 32, False, "gptq_v2", order="act-order")
        gptq(scratch, "gptq-v1-act-order", 4, 64, True, "gptq", order="act-order")
        rows = gptq(scratch, "gptq-8-bits-rows", 8, -1, True, "gptq")
        asymmetric = compressed(scratch, "compressed-asym-g64", 4, 64, False)
        compressed(scratch, "compressed-sym-g32-bf16", 4, 32, True, torch.bfloat16)
        compressed(scratch, "compressed-sym-rows", 4, -1, True)
        compressed(scratch, "compressed-8-bits-asym-rows-fp32", 8, -1, False, torch.float32)
        check_export(source, config_of(4, 32, True))
        check_export(rows, config_of(8, 64, True))
        # Of packed zero points compressed-tensors 0.20 expects the unpacked shape unless it unpacks while loading; it
        # does not open its own folders otherwise.
        check_export(asymmetric, config_of(4, 64, False),
                     quantization_config=CompressedTensorsConfig(run_compressed=False))
        check_mixed(scratch)


main()
