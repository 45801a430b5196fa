"""Perplexity of an ONNX folder as onnxruntime-genai computes it, to be set beside that of `salient perplexity`.

usage: onnx_perplexity.py ONNX_FOLDER TEXT_FILE [--windows 2]

The recipe `paper`: rows joined by a blank line, windows of 2048 tokens, one after the other, each on its own. Needs onnxruntime-genai and numpy.
"""
import argparse
import math
import pathlib

import numpy
import onnxruntime_genai as og

WINDOW = 2048


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--windows", type=int, default=2)
    flags = parser.parse_args()
    model = og.Model(str(flags.folder))
    rows = flags.text.read_text(encoding="utf-8").split("\n")  # the datasets' rows: those of no text are empty
    ids = og.Tokenizer(model).encode("\n\n".join(row + "\n" if row.strip() else "" for row in rows))
    losses = []
    for first in range(0, flags.windows * WINDOW, WINDOW):
        window = ids[first:first + WINDOW]
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=WINDOW + 1)
        generator = og.Generator(model, params)
        generator.append_tokens(window)
        logits = generator.get_output("logits")[0, :-1].astype(numpy.float64)
        largest = logits.max(axis=1)
        total = largest + numpy.log(numpy.exp(logits - largest[:, None]).sum(axis=1))
        losses.append(float((total - logits[numpy.arange(WINDOW - 1), window[1:]]).mean()))
    print(f"perplexity {math.exp(sum(losses) / len(losses)):.4f} over {len(losses)} windows: losses "
          + ", ".join(f"{loss:.5f}" for loss in losses))


if __name__ == "__main__":
    main()
