"""Writes an AutoAWQ folder of the shape of Phi-3 mini (3.8 billion weights) with random codes, to measure with.

usage: make_random_model.py FOLDER [LAYERS]"""
import json
import sys
from pathlib import Path

import numpy
from safetensors.numpy import save_file

HIDDEN, INNER, HEADS, VOCABULARY, GROUP = 3072, 8192, 32, 32064, 128


def linear(random, name, outputs, inputs):
    return {f"{name}.qweight": random.integers(-2**31, 2**31, (inputs, outputs // 8), numpy.int32),
            f"{name}.qzeros": random.integers(-2**31, 2**31, (inputs // GROUP, outputs // 8), numpy.int32),
            f"{name}.scales": random.uniform(0.2, 1, (inputs // GROUP, outputs)).astype(numpy.float16)
            * numpy.float16(0.2 / inputs**0.5)}


def dense(random, *shape):
    return random.standard_normal(shape, numpy.float32).astype(numpy.float16) * numpy.float16(0.02)


def byte_level_tokenizer():
    stand_ins = iter(range(256, 512))
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    vocabulary = {chr(byte if byte in plain else next(stand_ins)): byte for byte in range(256)}
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": step, "post_processor": None,
            "decoder": step, "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}


def main():
    folder = Path(sys.argv[1])
    layers = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    folder.mkdir(parents=True)
    random = numpy.random.default_rng(1)
    weight_map = {}
    for layer in range(layers + 1):
        prefix = f"model.layers.{layer}"
        if layer == layers:
            tensors = {"model.embed_tokens.weight": dense(random, VOCABULARY, HIDDEN),
                       "lm_head.weight": dense(random, VOCABULARY, HIDDEN),
                       "model.norm.weight": numpy.ones(HIDDEN, numpy.float16)}
        else:
            tensors = {f"{prefix}.{norm}.weight": numpy.ones(HIDDEN, numpy.float16)
                       for norm in ("input_layernorm", "post_attention_layernorm")}
            for name, outputs, inputs in (("self_attn.qkv_proj", 3 * HIDDEN, HIDDEN),
                                          ("self_attn.o_proj", HIDDEN, HIDDEN),
                                          ("mlp.gate_up_proj", 2 * INNER, HIDDEN), ("mlp.down_proj", HIDDEN, INNER)):
                tensors |= linear(random, f"{prefix}.{name}", outputs, inputs)
        file = f"model-{layer + 1:05}-of-{layers + 1:05}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    config = {"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "hidden_size": HIDDEN,
              "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": HEADS,
              "num_key_value_heads": HEADS, "vocab_size": VOCABULARY, "max_position_embeddings": 4096,
              "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "rope_scaling": None, "sliding_window": 2047, "hidden_act": "silu", "tie_word_embeddings": False,
              "bos_token_id": 1, "eos_token_id": 32000, "torch_dtype": "float16",
              "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True,
                                      "version": "gemm", "modules_to_not_convert": None}}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "tokenizer.json").write_text(json.dumps(byte_level_tokenizer()))


main()
