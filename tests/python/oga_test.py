"""Programs for ONNX Runtime's generate() API run on Salient's library: pip's own onnxruntime_genai, unmodified, with its
native library exchanged, and salient.onnxruntime_genai, do what the original does."""

import json
import pathlib
import shutil
import subprocess
import sys
import unittest

import onnxruntime_genai
import program
import tiny_model

BUILD = pathlib.Path(__file__).parents[2] / "build" / "release"
LIBRARY = BUILD / "libonnxruntime-genai.so"
ORIGINAL = pathlib.Path(onnxruntime_genai.__file__).parent
SCRIPT = pathlib.Path(__file__).parent / "generate_program.py"
LOGIT_BOUND = 2e-2  # keys and values are kept in fp16 here and in fp32 there


class GenerateApiTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        source = tiny_model.write_model(cls.folder / "source", eos_token_id=121)
        cls.model = cls.folder / "model"
        result = program.run("export", source, "--format", "onnx", "--output", cls.model)
        assert result.returncode == 0, result.stderr
        cls.exchanged = cls.folder / "exchanged"
        shutil.copytree(ORIGINAL, cls.exchanged / "onnxruntime_genai",
                        ignore=shutil.ignore_patterns("models", "libonnxruntime-genai.so"))
        shutil.copy(LIBRARY, cls.exchanged / "onnxruntime_genai")
        cls.original = cls.outcome("onnxruntime_genai", ORIGINAL.parent)

    @classmethod
    def outcome(cls, module, path):
        result = subprocess.run([sys.executable, SCRIPT, cls.model, module, tiny_model.CHAT_TEMPLATE], timeout=120, check=False, text=True,
                                capture_output=True, env=program.environment(PYTHONPATH=str(path)))
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def compare(self, ours):
        self.maxDiff = None
        theirs = json.loads(json.dumps(self.original))
        for mine, other in zip(ours["logits"].pop("values"), theirs["logits"].pop("values")):
            self.assertAlmostEqual(mine, other, delta=LOGIT_BOUND)
        for part in theirs:
            self.assertEqual(ours[part], theirs[part], part)

    def test_the_original_package_runs_on_this_library(self):
        self.compare(self.outcome("onnxruntime_genai", self.exchanged))

    @unittest.skipUnless(any((BUILD / "python" / "salient").glob("_salient*.so")), "the module was not built")
    def test_the_module_of_this_package_is_the_same(self):
        self.compare(self.outcome("salient.onnxruntime_genai", BUILD / "python"))

    def test_the_case_is_worth_testing(self):
        self.assertTrue(all(self.original["mistakes"].values()), self.original["mistakes"])
        self.assertGreater(len(set(self.original["question"]["tokens"])), 3)
        self.assertGreater(len(self.original["batch"]["steps"]), 3)

    def test_every_function_that_the_package_imports_is_there(self):
        def names(library, *flags):
            output = subprocess.run(["nm", "-D", *flags, library], check=True, capture_output=True, text=True).stdout
            return {line.split()[-1] for line in output.splitlines() if " Oga" in line}

        (extension,) = ORIGINAL.glob("onnxruntime_genai*.so")
        ours = names(LIBRARY, "--defined-only")
        self.assertEqual(names(extension, "--undefined-only") - ours, set())
        self.assertEqual(names(ORIGINAL / "libonnxruntime-genai.so", "--defined-only") - ours, set())

    def test_nothing_else_is_shown(self):
        output = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True)
        others = [line for line in output.stdout.splitlines() if not line.split()[-1].startswith("Oga")]
        self.assertEqual(others, [])

    def test_what_is_not_there_says_so(self):
        script = ("import onnxruntime_genai as og, sys\n"
                  "for body in (lambda: og.Adapters(og.Model(sys.argv[1])), lambda: og.Images.open('a.png'),\n"
                  "             lambda: og.Engine(og.Model(sys.argv[1]))):\n"
                  "    try:\n        body()\n    except Exception as error:\n        print(error)\n")
        result = subprocess.run([sys.executable, "-c", script, self.model], timeout=60, check=True, text=True,
                                capture_output=True, env=program.environment(PYTHONPATH=str(self.exchanged)))
        lines = result.stdout.splitlines()
        self.assertEqual(len(lines), 3, result.stdout)
        for line in lines:
            self.assertIn("not supported by this library", line)


if __name__ == "__main__":
    if not LIBRARY.exists():
        print(f"{LIBRARY} has not been built")
        sys.exit(77)
    program.main()
