"""Makes tiny random models, whole and in files that can then be damaged."""

import json
import pathlib
import struct

import numpy
from safetensors.numpy import save_file

CHAT_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"


def make_config(**changes):
    """config.json of a Llama of 2 layers; a change to None leaves the field out."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": 257,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 256,
        "torch_dtype": "float16",
    }
    config.update(changes)
    return {field: value for field, value in config.items() if value is not None}


def make_tensors(config, seed=0):
    """Random weights under the names of the Llama architecture, in fp16. The model prefers letters and spaces."""
    generator = numpy.random.default_rng(seed)
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    query = config["num_attention_heads"] * config["head_dim"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    tensors = {}

    def add(name, shape, deviation, mean=0.0):
        tensors[name] = generator.normal(mean, deviation, shape).astype(numpy.float16)

    def add_linear(name, outputs, inputs):
        add(name + ".weight", (outputs, inputs), 1.5 / inputs**0.5)

    add("model.embed_tokens.weight", (config["vocab_size"], hidden), 1.0)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        add(prefix + "input_layernorm.weight", (hidden,), 0.2, 1.0)
        add(prefix + "post_attention_layernorm.weight", (hidden,), 0.2, 1.0)
        add_linear(prefix + "self_attn.q_proj", query, hidden)
        add_linear(prefix + "self_attn.k_proj", kv, hidden)
        add_linear(prefix + "self_attn.v_proj", kv, hidden)
        add_linear(prefix + "self_attn.o_proj", hidden, query)
        add_linear(prefix + "mlp.gate_proj", intermediate, hidden)
        add_linear(prefix + "mlp.up_proj", intermediate, hidden)
        add_linear(prefix + "mlp.down_proj", hidden, intermediate)
    add("model.norm.weight", (hidden,), 0.2, 1.0)
    if not config["tie_word_embeddings"]:
        add_linear("lm_head", config["vocab_size"], hidden)
        letters = [i for i in range(config["vocab_size"]) if i == 32 or 97 <= i < 123]
        bias = numpy.full(config["vocab_size"], -20, numpy.float16)
        bias[letters] = 0
        tensors["lm_head.bias"] = bias
    return tensors


def byte_characters():
    """GPT-2's printable character for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def make_tokenizer():
    """tokenizer.json: one token a byte, and one special token."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocab = {character: byte for byte, character in enumerate(byte_characters())}
    special = {"id": 256, "content": "<|start|>", "special": True, "single_word": False, "lstrip": False,
               "rstrip": False, "normalized": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [special], "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": []},
    }


def write_model(folder, shards=1, seed=0, **changes):
    """Writes a model folder and returns its path; `changes` are fields of config.json."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    config = make_config(**changes)
    tensors = make_tensors(config, seed)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(make_tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def pack_q8_0(values):
    """Blocks of 32: the fp16 scale, then codes of one byte."""
    blocks = values.reshape(-1, 32)
    scales = (abs(blocks).max(axis=1, keepdims=True) / 127).astype(numpy.float16)
    codes = numpy.clip(numpy.rint(blocks / scales), -127, 127).astype(numpy.int8)
    return numpy.concatenate([scales.view(numpy.int8), codes], axis=1).tobytes()


def write_gguf(path, seed=0, q8_0=False):
    """Writes a GGUF file of fp32 tensors, or with the matrices in Q8_0; returns where its tensor data begin."""
    config = make_config()
    tensors = {name: values.astype(numpy.float32) for name, values in make_tensors(config, seed).items()}
    del tensors["lm_head.bias"]
    layer_names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
                   "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
                   "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}

    def rename(name):
        for ours, theirs in [("model.layers.", "blk."), ("model.embed_tokens", "token_embd"),
                             ("model.norm", "output_norm"), ("lm_head", "output"), *layer_names.items()]:
            name = name.replace(ours, theirs)
        return name

    def string(text):
        return struct.pack("<Q", len(text.encode())) + text.encode()

    def entry(key, kind, payload):
        return string(key) + struct.pack("<I", kind) + payload

    def array(kind, items):
        return struct.pack("<IQ", kind, len(items)) + b"".join(items)

    u32, f32, text, list_kind = 4, 6, 8, 9
    metadata = [entry("general.architecture", text, string("llama"))]
    for key, field in [("block_count", "num_hidden_layers"), ("context_length", "max_position_embeddings"),
                       ("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
                       ("attention.head_count", "num_attention_heads"),
                       ("attention.head_count_kv", "num_key_value_heads")]:
        metadata.append(entry("llama." + key, u32, struct.pack("<I", config[field])))
    metadata.append(entry("llama.attention.layer_norm_rms_epsilon", f32, struct.pack("<f", 1e-5)))
    metadata.append(entry("tokenizer.ggml.model", text, string("gpt2")))
    metadata.append(entry("tokenizer.ggml.pre", text, string("smollm")))
    tokens = [string(token) for token in [*byte_characters(), "<|start|>"]]
    metadata.append(entry("tokenizer.ggml.tokens", list_kind, array(text, tokens)))
    types = [struct.pack("<i", 1)] * 256 + [struct.pack("<i", 3)]
    metadata.append(entry("tokenizer.ggml.token_type", list_kind, array(5, types)))
    metadata.append(entry("tokenizer.ggml.merges", list_kind, array(text, [])))

    table, data = b"", b""
    for name, values in tensors.items():
        dimensions = struct.pack(f"<{values.ndim}Q", *reversed(values.shape))
        packed = q8_0 and values.ndim == 2
        table += string(rename(name)) + struct.pack("<I", values.ndim) + dimensions
        table += struct.pack("<IQ", 8 if packed else 0, len(data))
        data += pack_q8_0(values) if packed else values.tobytes()
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + b"".join(metadata) + table
    head += bytes(-len(head) % 32)
    pathlib.Path(path).write_bytes(head + data)
    return len(head)
