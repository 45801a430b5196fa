"""The Windows program as a program of this machine. scripts/test-windows makes it and what Wine needs."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
os.environ["SALIENT_PROGRAM"] = str(ROOT / "tests/windows/salient")
sys.path.insert(0, str(ROOT / "tests/python"))
import served  # noqa: E402

NATIVE = ROOT / "build/release/salient"
SMOLLM2 = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"


def windows_path(path):
    """How Windows calls a file of this machine."""
    return "Z:" + str(path).replace("/", "\\")


class Server(served.Server):
    """Wine passes no signals on: the server is ended, not asked to end."""

    def stop(self):
        self.process.kill()
        return self.process.wait(timeout=60)
