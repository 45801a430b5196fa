"""Seeds for the fuzzers, made here: small valid files from which mutations reach the inside of each parser.

usage: make_corpus.py FOLDER"""
import json
import struct
import sys
from pathlib import Path

CONFIG = {"vocab_size": 8, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
          "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5}


def safetensors() -> list[bytes]:
    header = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
              "b": {"dtype": "I32", "shape": [1], "data_offsets": [12, 16]}}
    text = json.dumps(header).encode()
    return [struct.pack("<Q", len(text)) + text + bytes(16)]


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def gguf() -> list[bytes]:
    def value(kind, packed):
        return struct.pack("<I", kind) + packed

    tokens = ["<unk>", "<s>", "</s>", "a", "b", "ab", "c", "d"]
    array = b"".join(map(gguf_string, tokens))
    metadata = {
        "general.architecture": value(8, gguf_string("llama")),
        "llama.context_length": value(4, struct.pack("<I", 64)),
        "llama.embedding_length": value(4, struct.pack("<I", 32)),
        "llama.block_count": value(4, struct.pack("<I", 1)),
        "llama.feed_forward_length": value(4, struct.pack("<I", 32)),
        "llama.attention.head_count": value(4, struct.pack("<I", 2)),
        "llama.attention.layer_norm_rms_epsilon": value(6, struct.pack("<f", 1e-5)),
        "tokenizer.ggml.model": value(8, gguf_string("gpt2")),
        "tokenizer.ggml.tokens": value(9, struct.pack("<IQ", 8, len(tokens)) + array),
        "tokenizer.ggml.merges": value(9, struct.pack("<IQ", 8, 1) + gguf_string("a b")),
        "tokenizer.ggml.bos_token_id": value(4, struct.pack("<I", 1)),
    }
    files = []
    for kind, block_bytes in ((0, 128), (2, 18), (3, 20), (8, 34), (12, 144), (14, 210)):
        columns = 256 if kind in (12, 14) else 32
        body = struct.pack("<IIQQ", 0x46554747, 3, 1, len(metadata))
        body += b"".join(gguf_string(key) + packed for key, packed in metadata.items())
        body += gguf_string("token_embd.weight") + struct.pack("<IQQIQ", 2, columns, 8, kind, 0)
        files.append(body + bytes(-len(body) % 32) + bytes(8 * block_bytes))
    return files


def config() -> list[bytes]:
    longrope = {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 1.0}
    variants = [{"model_type": "llama", "rope_scaling": yarn}, {"model_type": "phi3", "rope_scaling": longrope,
                "original_max_position_embeddings": 16, "sliding_window": 8},
                {"model_type": "gemma3_text", "layer_types": ["full_attention", "sliding_attention"],
                 "sliding_window": 8, "rope_local_base_freq": 10.0, "eos_token_id": [1, 2]},
                {"model_type": "smollm3", "no_rope_layers": [1, 0]}, {"model_type": "phi", "layer_norm_eps": 1e-5,
                 "partial_rotary_factor": 0.5, "hidden_act": "gelu_new"}]
    return [json.dumps(CONFIG | variant).encode() for variant in variants]


def tokenizer() -> list[bytes]:
    model = {"type": "BPE", "vocab": {"<s>": 0, "H": 1, "e": 2, "l": 3, "o": 4, "He": 5, "ll": 6},
             "merges": ["H e", "l l"], "unk_token": "<s>", "byte_fallback": True, "fuse_unk": True}
    split = {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s"}, "behavior": "Isolated", "invert": False}
    return [json.dumps({"version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "special": True, "lstrip": False,
                        "rstrip": False, "normalized": False, "single_word": False}],
                        "normalizer": {"type": "NFC"}, "pre_tokenizer": split, "decoder": {"type": "ByteFallback"},
                        "post_processor": None, "model": model}).encode()]


def chat_template() -> list[bytes]:
    return [b"{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[{{ m.content | trim }}]{% else %}"
            b"{{ m['content'].upper() }}{% endif %}{% endfor %}{{ raise_exception('x') if false }}",
            b"{%- set ns = namespace(n=0) -%}{%- for m in messages[1:] -%}{%- set ns.n = ns.n + 1 -%}"
            b"{{ m | tojson(indent=2) }}{%- endfor -%}{{ ns.n }}{{ strftime_now('%Y') }}",
            b"{% macro f(x) %}{{ x * 2 }}{% endmacro %}{{ f('a') }}{{ range(3) | list | join(',') }}"]


def main() -> None:
    for make in (safetensors, gguf, config, tokenizer, chat_template):
        folder = Path(sys.argv[1]) / make.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(make()):
            (folder / f"seed-{number}").write_bytes(data)


main()
