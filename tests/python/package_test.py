"""What `cmake --install` leaves: programs of others build with nothing else, through CMake and through pkg-config."""

import os
import pathlib
import shutil
import subprocess
import sys

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

    def test_the_c_example_builds_with_pkg_config(self):
        if not shutil.which("pkg-config"):
            self.skipTest("there is no pkg-config")
        flags = call("pkg-config", "--cflags", "--libs", "salient", env=self.environment).split()
        program_file = self.folder / "chat_c"
        call(os.environ.get("CC", "cc"), "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
             ROOT / "examples" / "c" / "chat.c", "-o", program_file, *flags)
        self.assertEqual(self.answer(program_file), self.expected())

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
