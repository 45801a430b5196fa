"""Folders of the generate() API run in ONNX Runtime's WebGPU provider as they run on the CPU: the tests of the runner with
the library of pip's onnxruntime-webgpu (tested with 1.27.0).

It takes a driver that WebGPU takes: Mesa's of Debian 12 is too old, that of its backports (25.0) will do."""

import os
import pathlib
import subprocess
import sys

import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUNNER_TESTS = ROOT / "build/release/tests/runner/test_runner"


def main():
    environment = {**os.environ, "SALIENT_TEST_PROVIDER": "webgpu",
                   "SALIENT_ONNXRUNTIME": str(pathlib.Path(onnxruntime.__file__).parent / "capi")}
    probe = subprocess.run([RUNNER_TESTS, "--gtest_filter=OnnxRuntimeRunners.SaysWhatItIs"], env=environment,
                           stdout=subprocess.PIPE, text=True, check=False)
    if "Failed to get a WebGPU adapter" in probe.stdout:
        print("no Vulkan driver that WebGPU takes: Mesa of Debian 12's backports has one")
        return 77
    return subprocess.run([RUNNER_TESTS, "--gtest_filter=*OnnxRuntime*"], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
