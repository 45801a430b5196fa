"""Brings a model from the hub, makes it four times smaller, says what that cost, exports it and asks it something.

    python quantize.py OWNER/NAME FOLDER TEXT_FILE
"""
import sys

import salient

name, folder, text = sys.argv[1:]
base = salient.pull(name)["path"]
report = salient.quantize(base, folder + "/awq", calibration_sequences=8)  # 48 are better
print(f"groups of {report['group_size']}, {report['bytes_in_fp16'] >> 20} MiB in fp16 are {report['bytes'] >> 20}")
(row,) = salient.perplexity(folder + "/awq", data=[text], base=base, window=512, limit=4)
print(f"perplexity {row['base_perplexity']:.2f} became {row['perplexity']:.2f}, KL divergence {row['kl_divergence']:.4f}")
salient.export(folder + "/awq", folder + "/onnx", format="onnx")
model = salient.Model(folder + "/onnx")
question = [{"role": "user", "content": "What is the capital of France?"}]
print(salient.generate(model, question, temperature=0, max_tokens=30).text)
