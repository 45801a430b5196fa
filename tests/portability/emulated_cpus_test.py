"""Runs the builds for x86-64 and AArch64 on emulated CPUs, new and old: each picks the kernels that it is fit for,
refuses the others, and computes the same bits. scripts/test-portability makes the builds."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/python"))
import program  # noqa: E402
import tiny_model  # noqa: E402

NATIVE = ROOT / "build/release/salient"
GENERATE = ("--prompt", "to be or not", "--max-tokens", "12", "--temperature", "1", "--threads", "2", "--json")


class EmulatedCpu:
    """What holds for each CPU; the classes below are CPUs."""

    emulator = build = cpu = None
    sets = ()  # the values of SALIENT_ISA that it can run, the best first
    lacks = ()  # the better ones of the build, which it cannot

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.model = tiny_model.write_model(pathlib.Path(cls.folder.name) / "model")

    def run_program(self, name, *arguments, isa=None, **settings):
        command = [self.emulator, "-cpu", self.cpu, ROOT / "build" / self.build / name, *arguments]
        env = program.environment(**settings, **({"SALIENT_ISA": isa} if isa else {}))
        result = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        # The emulator speaks of features of the CPU that it does not have.
        result.stderr = "".join(line for line in result.stderr.splitlines(keepends=True) if "TCG doesn't" not in line)
        return result

    def test_kernels_are_the_reference_bit_for_bit(self):
        result = self.run_program("tests/kernels/test_kernels")
        self.assertEqual(result.returncode, 0, result.stdout[-3000:] + result.stderr[-1000:])

    def test_logits_have_the_digests_of_every_other_cpu(self):
        for isa in self.sets:
            with self.subTest(isa=isa):
                result = self.run_program("tests/runner/test_runner", "--gtest_filter=*/BitEquality.*", isa=isa)
                self.assertEqual(result.returncode, 0, result.stdout[-3000:])
                self.assertRegex(result.stdout, r"\[  PASSED  \] [1-9]\d* tests")
                self.assertNotIn("SKIPPED", result.stdout)

    def test_logits_of_a_real_model_have_the_digest_of_every_other_cpu(self):
        vector_sets = [isa for isa in self.sets if isa != "scalar"]  # emulated, that one takes many minutes
        if not vector_sets or "SALIENT_TEST_GGUF" not in os.environ:
            self.skipTest("SALIENT_TEST_GGUF does not name SmolLM2-135M-Instruct, or only the scalar kernels run")
        for isa in vector_sets:
            with self.subTest(isa=isa):
                result = self.run_program("tests/runner/test_runner", "--gtest_filter=BitEqualityOfSmolLm2.*", isa=isa,
                                          SALIENT_TEST_GGUF=os.path.abspath(os.environ["SALIENT_TEST_GGUF"]))
                self.assertEqual(result.returncode, 0, result.stdout[-3000:])
                self.assertRegex(result.stdout, r"\[  PASSED  \] 1 test")

    def test_the_program_uses_the_best_kernels_and_writes_the_same_text(self):
        result = self.run_program("salient", "generate", self.model, *GENERATE)
        self.assertEqual(result.returncode, 0, result.stderr)
        slow = ""
        if self.sets == ("scalar",):
            slow = f" (many times slower than others: this CPU runs none of {', '.join(self.lacks)})"
        self.assertIn(f"; {self.sets[0]} kernels{slow}, 2 threads", result.stderr)
        native = subprocess.run([NATIVE, "generate", self.model, *GENERATE], env=program.environment(),
                                capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(result.stdout)["ids"], json.loads(native.stdout)["ids"])
        inspected = self.run_program("salient", "inspect", self.model)
        self.assertEqual(inspected.returncode, 0, inspected.stderr)

    def test_kernels_that_it_is_not_fit_for_are_refused(self):
        complaints = {isa: "this CPU does not have these instructions" for isa in self.lacks}
        known = ", ".join(self.lacks + self.sets)
        complaints["sse9"] = f"unknown instruction set; this build has {known}"
        for isa, complaint in complaints.items():
            result = self.run_program("salient", "generate", self.model, *GENERATE, isa=isa)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr.splitlines()[-1], f"salient: SALIENT_ISA={isa}: {complaint}")


class X86(EmulatedCpu):
    emulator, build = "qemu-x86_64", "release"


class Arm(EmulatedCpu):
    emulator, build = "qemu-aarch64", "aarch64"


class Haswell(X86, unittest.TestCase):
    cpu, sets, lacks = "Haswell", ("avx2", "scalar"), ("avx512vnni", "avxvnni")


class SandyBridge(X86, unittest.TestCase):
    """Has AVX, but neither AVX2 nor fused multiply-adds."""

    cpu, sets, lacks = "SandyBridge", ("scalar",), ("avx512vnni", "avxvnni", "avx2")


class Opteron(X86, unittest.TestCase):
    """The first x86-64, of 2003: SSE2 is all it has."""

    cpu, sets, lacks = "Opteron_G1", ("scalar",), ("avx512vnni", "avxvnni", "avx2")


class ArmWithMatrixProducts(Arm, unittest.TestCase):
    cpu, sets = "max", ("neon_i8mm", "neon_dotprod", "scalar")


class NeoverseN1(Arm, unittest.TestCase):
    cpu, sets, lacks = "neoverse-n1", ("neon_dotprod", "scalar"), ("neon_i8mm",)


class CortexA57(Arm, unittest.TestCase):
    cpu, sets, lacks = "cortex-a57", ("scalar",), ("neon_i8mm", "neon_dotprod")


if __name__ == "__main__":
    outcome = unittest.main(verbosity=2, exit=False).result
    broken = {getattr(test, "test_case", test).id() for test, _ in outcome.failures + outcome.errors}
    skipped = len(outcome.skipped)
    print(f"{outcome.testsRun - len(broken) - skipped} passed, {len(broken)} failed, {skipped} skipped")
    sys.exit(not outcome.wasSuccessful())
