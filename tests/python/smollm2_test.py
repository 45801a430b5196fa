"""The example in Python with a model that can talk: pulled from a hub, quantized, measured, exported and run."""

import pathlib
import re
import subprocess
import sys

import fake_hub
import program

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "build/release/python"


class SmolLm2Test(program.ProgramTest):
    def test_the_example_in_python(self):
        model = ROOT / subprocess.run([ROOT / "scripts/fetch-smollm2"], check=True, text=True,
                                      capture_output=True).stdout.strip()
        hub = fake_hub.FakeHub({"someone/SmolLM2": {model.name: model.read_bytes()}})
        self.addCleanup(hub.close)
        text = self.folder / "text.txt"
        text.write_text("\n\n".join(path.read_text() for path in sorted(ROOT.glob("docs/*.md"))))
        result = subprocess.run(
            [sys.executable, ROOT / "examples/python/quantize.py", f"someone/SmolLM2/{model.name}", self.folder, text],
            timeout=500, text=True, capture_output=True, env=program.environment(
                PYTHONPATH=str(PACKAGE), HF_ENDPOINT=hub.address, HF_HOME=str(self.folder / "home")))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        sizes = re.search(r"groups of 64, (\d+) MiB in fp16 are (\d+)\n", result.stdout)
        self.assertLess(int(sizes[2]), 0.5 * int(sizes[1]))  # the embeddings, which are fp16, are much of so small a model
        base, small, divergence = map(float, re.search(
            r"perplexity ([\d.]+) became ([\d.]+), KL divergence ([\d.]+)\n", result.stdout).groups())
        self.assertLess(abs(small / base - 1), 0.3)
        self.assertGreater(divergence, 0.01)
        self.assertLess(divergence, 0.3)
        self.assertIn("Paris", result.stdout)


if __name__ == "__main__":
    program.main()
