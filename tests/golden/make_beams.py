"""What transformers' generate() writes with beams and penalties, on the tiny models of this folder, for
scripts/make-goldens. Each case is {model, prompt, options, replies: [{ids, score}]}; without beams a score is null."""
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
MODELS = ["linear", "llama32"]
PROMPTS = [[25], [10, 28, 18, 40, 21, 54, 28, 14, 21]]
OPTIONS = [
    {"num_beams": 2},
    {"num_beams": 4, "num_return_sequences": 4},
    {"num_beams": 4, "num_return_sequences": 4, "early_stopping": True},
    {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 2.0},
    {"num_beams": 4, "num_return_sequences": 4, "length_penalty": -1.0},
    {"num_beams": 3, "num_return_sequences": 3, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    {"num_beams": 4, "num_return_sequences": 2, "min_length": 20},
    {"num_beams": 1, "repetition_penalty": 1.5},
    {"num_beams": 1, "no_repeat_ngram_size": 2},
    {"num_beams": 1, "no_repeat_ngram_size": 3, "repetition_penalty": 1.1, "min_length": 24},
]
# Ends that a random model reaches now and then.
ENDS = [[2], [3, 50], [18, 16, 48]]
NEW_TOKENS = 16


def run(model, prompt, options, ends):
    result = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                            do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=ends, pad_token_id=0,
                            return_dict_in_generate=True, output_scores=True, **options)
    replies = []
    for index, sequence in enumerate(result.sequences.tolist()):
        ids = sequence[len(prompt):]
        length = next((i for i, token in enumerate(ids) if token in ends), len(ids))  # padding follows an end
        score = float(result.sequences_scores[index]) if options["num_beams"] > 1 else None
        replies.append({"ids": ids[:length], "ended": length < len(ids), "score": score})
    return replies


def main() -> None:
    cases = []
    for name in MODELS:
        model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager").eval()
        for prompt in PROMPTS:
            for ends in ENDS:
                for options in OPTIONS:
                    cases.append({"model": name, "prompt": prompt, "ends": ends, "options": options,
                                  "max_tokens": NEW_TOKENS, "replies": run(model, prompt, options, ends)})
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "beams.json").write_text(f"[\n{lines}\n]\n")


main()
