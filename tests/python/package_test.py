"""What `cmake --install` leaves: programs of others build with nothing else, through CMake and through pkg-config."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import fake_hub
import program
import tiny_model

ROOT = pathlib.Path(__file__).parents[2]
BUILD = ROOT / "build" / "release"
QUESTION = "what is this"


def call(*command, **options):
    result = subprocess.run([str(part) for part in command], text=True, capture_output=True, timeout=300, check=False,
                            **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


class PackageTest(program.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        call("cmake", "--install", BUILD, "--prefix", cls.folder / "first")
        # A moved installation works too.
        cls.prefix = (cls.folder / "first").rename(cls.folder / "moved")
        (libraries,) = cls.prefix.rglob("libsalient.so")
        cls.libraries = libraries.parent
        cls.model = tiny_model.write_model(cls.folder / "model", eos_token_id=101)
        cls.environment = {**program.environment(), "LD_LIBRARY_PATH": str(cls.libraries),
                           "PKG_CONFIG_PATH": str(cls.libraries / "pkgconfig")}

    def answer(self, executable, prompt=QUESTION):
        return call(executable, self.model, prompt, env=self.environment)

    def expected(self, *arguments):
        result = self.run_well("generate", self.model, "--prompt", QUESTION, "--temperature", "0", "--max-tokens", "100",
                               *arguments)
        return result.stdout

    def test_the_cpp_example_builds_with_find_package(self):
        source = self.folder / "cmake example"
        shutil.copytree(ROOT / "examples" / "cpp", source)
        call("cmake", "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        call("cmake", "--build", source / "build")
        self.assertEqual(self.answer(source / "build" / "chat"), self.expected("--chat-template"))

    def compile(self, source):
        """An example in C, built with what pkg-config says."""
        if not shutil.which("pkg-config"):
            self.skipTest("there is no pkg-config")
        flags = call("pkg-config", "--cflags", "--libs", "salient", env=self.environment).split()
        executable = self.folder / pathlib.Path(source).stem
        call(os.environ.get("CC", "cc"), "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
             ROOT / "examples" / "c" / source, "-o", executable, *flags)
        return executable

    def test_the_c_example_builds_with_pkg_config(self):
        self.assertEqual(self.answer(self.compile("chat.c")), self.expected())

    def test_a_c_program_pulls_quantizes_measures_and_exports(self):
        executable = self.compile("quantize.c")
        hub = fake_hub.FakeHub({"tiny/model": {path.name: path.read_bytes() for path in self.model.iterdir()}})
        self.addCleanup(hub.close)
        text, output = self.folder / "text.txt", self.folder / "from c"
        text.write_text("a quick brown fox " * 200)
        output.mkdir()
        environment = {**self.environment, "HF_ENDPOINT": hub.address, "HF_HOME": str(self.folder / "home")}
        (row,) = json.loads(call(executable, "tiny/model", text, output, env=environment))
        measured = self.run_well("perplexity", output / "small", "--base", self.model, "--data", text, "--window", 256,
                                 "--json")
        (expected,) = json.loads(measured.stdout)
        self.assertEqual(row["perplexity"], expected["perplexity"])
        self.assertEqual(row["kl_divergence"], expected["kl_divergence"])
        onnx = json.loads(self.run_well("inspect", output / "onnx", "--json").stdout)
        self.assertEqual(onnx["format"], "onnx")

    def test_every_function_of_the_c_header_is_exported_with_a_version(self):
        header = (self.prefix / "include" / "salient" / "salient.h").read_text()
        declared = set(re.findall(r"SALIENT_API [^;(]*?(Salient\w+)\(", header))
        lines = call("nm", "-D", "--defined-only", self.libraries / "libsalient.so").splitlines()
        exported = {line.split()[-1] for line in lines if " T Salient" in line}
        self.assertEqual(exported, {name + "@@SALIENT_0" for name in declared})
        self.assertIn("SalientQuantize", declared)

    def test_the_library_shows_only_its_interface(self):
        symbols = call("nm", "-D", "-C", "--defined-only", self.libraries / "libsalient.so").splitlines()
        names = [line.split(maxsplit=2)[2] for line in symbols if " A " not in line]
        strange = [name for name in names if not name.startswith("Salient") and "salient::v1::" not in name]
        self.assertEqual(strange, [])
        self.assertGreater(len(names), 50)

    def test_the_program_is_installed(self):
        self.assertIn("0.1.0", call(self.prefix / "bin" / "salient", "--version"))


if __name__ == "__main__":
    if not (BUILD / "libsalient.so").exists():
        print(f"{BUILD / 'libsalient.so'} has not been built")
        sys.exit(77)
    program.main()
