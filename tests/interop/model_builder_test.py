"""A folder that onnxruntime-genai's own model builder makes runs in pip's package with its own native library and with
Salient's in its place.

Salient quantizes a GGUF, the builder makes int4 folders for the CPU of that, and a program of onnxruntime-genai (the
question and answer loop, and a chat of several turns in one generator, as its documentation has them) asks them on both
libraries. With accuracy_level 1 activations stay in floats, and every reply must be equal to the last token. With 4, the
builder's default, both round activations to int8, but not in the same blocks, and the original does not choose the same
tokens when it reads a text at once. There Salient is asked for its choice after every token of the original's replies: it
must be the original's wherever that has a margin above 0.4 between its two best.

Needs numpy, onnx_ir, torch, transformers and onnxruntime-genai (tested with 0.18.0). Arguments are for the programs that
it starts: a step, and that step's own."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SALIENT = ROOT / "build/release/salient"
LIBRARY = ROOT / "build/release/libonnxruntime-genai.so"
MARGINS = {1: 0, 4: 0.4}  # by accuracy_level
QUESTIONS = ["What is the capital of France?", "Why is the sky blue?", "List three fruits.",
             "Explain what a compiler does.", "Write a short poem about the sea."]
CHAT = ["Name a planet.", "Is it larger than the Earth?", "Thank you."]
LONGEST = 120


def generate(generator, prompt):
    """The greedy reply to what was appended, with the margin of each of its tokens."""
    tokens, margins = [], []
    while not generator.is_done() and len(tokens) < LONGEST:
        second, first = np.sort(generator.get_logits().reshape(-1))[-2:]
        margins.append(float(first - second))
        generator.generate_next_token()
        tokens.append(int(generator.get_next_tokens()[0]))
    return {"prompt": prompt, "tokens": tokens, "margins": margins}


def open_model(folder):
    import onnxruntime_genai as og
    model = og.Model(folder)
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=1000, do_sample=False)
    return og.Tokenizer(model), lambda: og.Generator(model, params)


def ask(folder):
    """Step of the original: every reply, as JSON."""
    tokenizer, new_generator = open_model(folder)

    def prompt_of(text):
        turn = json.dumps([{"role": "user", "content": text}])
        return tokenizer.encode(tokenizer.apply_chat_template(turn, add_generation_prompt=True)).tolist()

    replies = []
    for question in QUESTIONS:
        generator = new_generator()
        prompt = prompt_of(question)
        generator.append_tokens(prompt)
        replies.append(generate(generator, prompt))
    generator = new_generator()
    for turn in CHAT:
        generator.append_tokens(prompt_of(turn))
        replies.append(generate(generator, generator.get_sequence(0).tolist()))
    print(json.dumps([{**reply, "text": tokenizer.decode(reply["tokens"])} for reply in replies]))


def follow(folder, replies_file):
    """Step of either: what it would say after each token of the replies, and what it says by itself, as JSON."""
    tokenizer, new_generator = open_model(folder)
    results = []
    for reply in json.loads(Path(replies_file).read_text()):
        generator = new_generator()
        generator.append_tokens(reply["prompt"] + reply["tokens"][:-1])
        rows = generator.get_output("logits")[0][-len(reply["tokens"]):]
        alone = new_generator()
        alone.append_tokens(reply["prompt"])
        tokens = []
        while not alone.is_done() and len(tokens) < len(reply["tokens"]):
            alone.generate_next_token()
            tokens.append(int(alone.get_next_tokens()[0]))
        results.append({"best": rows.argmax(-1).tolist(), "tokens": tokens, "text": tokenizer.decode(reply["tokens"])})
    print(json.dumps(results))


def step(name, package, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(package)}
    result = subprocess.run([sys.executable, __file__, name, *map(str, arguments)], check=False, text=True,
                            stdout=subprocess.PIPE, env=environment)
    if result.returncode != 0:
        sys.exit(f"FAILED: {name} with {package}")
    return json.loads(result.stdout)


def exchange(original, folder):
    """pip's package with Salient's library, in a folder of its own."""
    shutil.copytree(original, folder / "onnxruntime_genai",
                    ignore=shutil.ignore_patterns("models", "__pycache__", "libonnxruntime-genai.so"))
    shutil.copy(LIBRARY, folder / "onnxruntime_genai")
    return folder


def build(quantized, level, scratch):
    folder = scratch / f"level-{level}"
    subprocess.run([sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", "SmolLM2", "-i", quantized, "-o",
                    folder, "-p", "int4", "-e", "cpu", "-c", scratch / "cache", "--extra_options",
                    f"accuracy_level={level}"], check=True, capture_output=True,
                   env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return folder


def compare(name, theirs, ours, least):
    """Prints how alike they are; the number of tokens that differ though their margin was above `least`, and of replies
    that are not whole where it is 0."""
    failures = same = clear = total = whole = 0
    for reply, other in zip(theirs, ours):
        whole += other["tokens"] == reply["tokens"]
        assert other["text"] == reply["text"], "the tokenizers differ"
        for margin, wanted, best in zip(reply["margins"], reply["tokens"], other["best"]):
            total += 1
            same += best == wanted
            clear += margin > least
            failures += margin > least and best != wanted
    print(f"  {name}: of {len(theirs)} replies {whole} equal to the last token; of {total} tokens {same} are the best of both, "
          f"{clear} have a margin above {least}, {failures} of those are not equal")
    return failures + (len(theirs) - whole if least == 0 else 0)


def main():
    import onnxruntime_genai
    gguf = os.environ.get("SALIENT_TEST_GGUF")
    if not gguf or not LIBRARY.exists():
        print(f"SALIENT_TEST_GGUF is not set, or {LIBRARY} has not been built")
        sys.exit(77)
    original = Path(onnxruntime_genai.__file__).parent
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        quantized = scratch / "quantized"
        subprocess.run([SALIENT, "quantize", gguf, "--output", quantized, "--method", "rtn"], check=True,
                       capture_output=True)
        exchanged = exchange(original, scratch / "exchanged")
        failures = 0
        for level, least in MARGINS.items():
            folder = build(quantized, level, scratch)
            theirs = step("ask", original.parent, folder)
            (scratch / "replies.json").write_text(json.dumps(theirs))
            print(f"  accuracy_level {level}: {theirs[0]['text'][:100]!r}")
            compare("the original, reading its own replies", theirs,
                    step("follow", original.parent, folder, scratch / "replies.json"), least)
            ours = step("follow", exchanged, folder, scratch / "replies.json")
            failures += compare("Salient's library", theirs, ours, least)
        sys.exit(1 if failures else 0)


STEPS = {"ask": ask, "follow": follow}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        STEPS[sys.argv[1]](*sys.argv[2:])
    else:
        main()
