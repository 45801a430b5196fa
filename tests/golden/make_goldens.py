"""Tiny random models and the logits transformers computes with them in fp32, for scripts/make-goldens.

Weights are stored in bf16, so what is read back is exact. Greedy tokens are computed from scratch at every step: a cache
that was filled with other rotary frequencies would not do."""
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).parent
COMMON = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}
ORIGINAL = 32
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": ORIGINAL}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL}
LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.4, 1.8, 2.0],
            "long_factor": [1.0, 1.7, 3.1, 5.9, 11.0, 21.0]}
MODELS = {
    "smollm3": {"model_type": "smollm3", "num_hidden_layers": 4, "rope_theta": 50000.0, "tie_word_embeddings": True,
                "no_rope_layer_interval": 4, "use_sliding_window": False},
    "phi4-mini": {"model_type": "phi3", "rope_theta": 10000.0, "rope_scaling": LONGROPE, "tie_word_embeddings": True,
                  "original_max_position_embeddings": ORIGINAL, "partial_rotary_factor": 0.75, "sliding_window": 128},
    "yarn": {"model_type": "qwen2", "rope_theta": 10000.0, "rope_scaling": YARN, "tie_word_embeddings": False,
             "use_sliding_window": False},
    "linear": {"model_type": "llama", "rope_theta": 10000.0, "rope_scaling": {"rope_type": "linear", "factor": 4.0},
               "tie_word_embeddings": False},
    "llama32": {"model_type": "llama", "rope_theta": 500000.0, "rope_scaling": LLAMA3, "tie_word_embeddings": True},
}
LENGTHS = [1, 9, 32, 33, 70]


def make_model(config: dict):
    torch.manual_seed(20261125)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 1.5 / parameter.shape[1] ** 0.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.2)
            else:
                parameter.normal_(1, 0.2)
            parameter.copy_(parameter.to(torch.bfloat16).float())
    return model


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def main() -> None:
    for name, changes in MODELS.items():
        config = COMMON | changes
        model = make_model(config)
        generator = torch.Generator().manual_seed(7)
        prompts, tensors = [], {}
        for length in LENGTHS:
            ids = torch.randint(3, config["vocab_size"], (length,), generator=generator).tolist()
            tensors[f"logits_len{length}"] = logits_of(model, ids).contiguous()
            text = list(ids)
            for _ in range(32):
                text.append(int(logits_of(model, text)[-1].argmax()))
            prompts.append({"ids": ids, "greedy32": text[length:]})
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        (folder / "goldens.json").write_text(json.dumps({"prompts": prompts}) + "\n")
        weights = {key: value.to(torch.bfloat16).contiguous() for key, value in model.state_dict().items()
                   if not (key == "lm_head.weight" and config["tie_word_embeddings"])}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        save_file(tensors, folder / "goldens.safetensors")


main()
