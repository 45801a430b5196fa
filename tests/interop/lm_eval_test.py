"""lm-evaluation-harness, unmodified, asks the server for log-likelihoods (its model local-completions, tasks of our own):
they are those of `salient perplexity`. Its tokenizer is that of transformers."""
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
SALIENT = ROOT / "build/release/salient"
TEXTS = [
    "The steam engine turned heat into motion: water boiled, the vapour pushed a piston, and a wheel turned.",
    "Within a century it had moved looms, ships and trains.\n\"Why?\" asked a child; \"because it was cheaper,\" said nobody.",
    "def area(radius):\n    return 3.14159 * radius ** 2  # pi r squared\n",
]
QUESTIONS = [
    {"question": "The capital of France is", "choices": [" Paris", " London", " a kind of cheese"], "answer": 0},
    {"question": "Two and two are", "choices": [" three", " four", " a wheel turned by steam"], "answer": 1},
]
ROLLING = """
task: local_rolling
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/texts.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}]
"""
CHOICE = """
task: local_choice
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/questions.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
target_delimiter: ""
metric_list: [{metric: acc}]
"""


def check(condition: bool, sentence: str) -> None:
    if not condition:
        sys.exit(f"FAILED: {sentence}")


def write_tasks(folder: Path) -> None:
    for name, text in (("rolling", ROLLING), ("choice", CHOICE)):
        (folder / f"{name}.yaml").write_text(text.replace("FOLDER", str(folder)))
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))


def harness_samples(model: Path, folder: Path) -> dict:
    """What the harness has measured: for each task the samples in order."""
    server = subprocess.Popen([SALIENT, "serve", model, "--port", "0", "--store", "off", "--kv-memory", "0.5"],
                              stdout=subprocess.PIPE, text=True)
    try:
        port = re.search(r":(\d+)$", server.stdout.readline().strip()).group(1)
        arguments = (f"model={model.name},base_url=http://127.0.0.1:{port}/v1/completions,tokenizer={model},"
                     "tokenizer_backend=huggingface,tokenized_requests=True,num_concurrent=1,max_length=2048")
        subprocess.run([sys.executable, "-m", "lm_eval", "--model", "local-completions", "--model_args", arguments,
                        "--tasks", "local_rolling,local_choice", "--include_path", folder, "--output_path", folder / "out",
                        "--log_samples"], check=True,
                       env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")})
    finally:
        server.terminate()
        server.wait(timeout=60)
    samples = {}
    for task in ("local_rolling", "local_choice"):
        (file,) = (folder / "out").rglob(f"samples_{task}_*.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        samples[task] = sorted(lines, key=lambda sample: sample["doc_id"])
    return samples


class Perplexity:
    """Log-likelihoods by `salient perplexity`."""

    def __init__(self, model: Path, scratch: Path):
        self.model, self.scratch = model, scratch
        self.tokenizer = AutoTokenizer.from_pretrained(model)

    def log_likelihood(self, text: str) -> float:
        """Of all tokens of a text but the first."""
        tokens = len(self.tokenizer(text)["input_ids"])
        file = self.scratch / "text"
        file.write_text(text)
        result = subprocess.run([SALIENT, "perplexity", self.model, "--data", file, "--window", str(tokens), "--stride",
                                 str(tokens), "--json"], check=True, capture_output=True, text=True)
        (report,) = json.loads(result.stdout)
        return -math.log(report["perplexity"]) * (tokens - 1)


def compare(what: str, theirs: float, ours: float) -> None:
    print(f"{what}: lm-eval {theirs:.5f}, salient perplexity {ours:.5f}")
    check(abs(theirs - ours) <= 1e-4 * abs(ours) + 1e-4, f"{what}: the log-likelihoods differ")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model = folder / "model"
        subprocess.run([SALIENT, "quantize", os.environ["SALIENT_TEST_GGUF"], "--method", "rtn", "--output", model],
                       check=True, capture_output=True)
        write_tasks(folder)
        samples = harness_samples(model, folder)
        perplexity = Perplexity(model, folder)
        # The harness puts this before a text whose first token is to be predicted too.
        # The harness puts this before a text, so that its first token is predicted too.
        start = perplexity.tokenizer.bos_token
        for text, sample in zip(TEXTS, samples["local_rolling"], strict=True):
            (theirs,) = sample["filtered_resps"]
            compare(repr(text[:24]), float(theirs), perplexity.log_likelihood(start + text))
        for question, sample in zip(QUESTIONS, samples["local_choice"], strict=True):
            before = perplexity.log_likelihood(question["question"])
            for choice, (theirs, _) in zip(question["choices"], sample["filtered_resps"], strict=True):
                compare(question["question"] + choice, float(theirs),
                        perplexity.log_likelihood(question["question"] + choice) - before)


if __name__ == "__main__":
    main()
