"""Runs the program as a person would, and reports unittest's result as scripts/test expects it."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(os.environ.get("SALIENT_PROGRAM", pathlib.Path(__file__).parents[2] / "build/release/salient"))

_cache = tempfile.TemporaryDirectory()


def environment(**changes):
    """This process's environment without settings of the program and of the hub, with no way to the network and without
    conversations and typed lines that are kept."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SALIENT_", "HF_", "HUGGING"))}
    nowhere = "http://127.0.0.1:9"
    return {**kept, "SALIENT_CACHE": _cache.name, "HF_HOME": _cache.name, "HF_ENDPOINT": nowhere,
            "SALIENT_TEXT_ENDPOINT": nowhere, "SALIENT_STORE": "off", "SALIENT_HISTORY": "off", **changes}


def run(*arguments, env=None, **options):
    """Runs the program to its end: returncode, stdout and stderr as text."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120,
               **options}
    if "input" in options:
        del options["stdin"]
    return subprocess.run([PROGRAM, *map(str, arguments)], env=environment(**(env or {})), text=True, check=False,
                          **options)


def instruction_sets(model):
    """The values of SALIENT_ISA that this CPU can run, the best first."""
    refusal = run("generate", model, "--prompt", "a", env={"SALIENT_ISA": "none"}).stderr
    known = refusal.strip().rsplit("this build has ", 1)[1].split(", ")
    probes = {isa: run("generate", model, "--prompt", "a", "--max-tokens", "1", env={"SALIENT_ISA": isa})
              for isa in known}
    return [isa for isa, probe in probes.items() if "does not have these instructions" not in probe.stderr]


class ProgramTest(unittest.TestCase):
    """Has a folder of its own for each class, and knows what good and bad runs look like."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._folder.cleanup)
        cls.folder = pathlib.Path(cls._folder.name)

    def run_well(self, *arguments, **options):
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def expect_sentence(self, result, *parts):
        """Exit code 1, and one sentence on standard error that holds all of these parts."""
        self.assertEqual(result.returncode, 1, result.stderr)
        sentences = [line for line in result.stderr.splitlines() if line.startswith("salient: ")]
        self.assertEqual(len(sentences), 1, result.stderr)
        self.assertEqual(result.stderr.splitlines()[-1], sentences[0])
        for part in parts:
            self.assertIn(str(part), sentences[0])
        for library in ("json.exception", "filesystem error", "std::"):
            self.assertNotIn(library, sentences[0])
        return sentences[0]


def main():
    if not PROGRAM.exists():
        print(f"{PROGRAM} has not been built")
        sys.exit(77)
    unittest.main()
