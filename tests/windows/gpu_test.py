"""--device gpu:0 of the Windows program, on the Vulkan driver that Wine passes on: the tests of Linux, and SmolLM2."""

import json
import math
import sys
import unittest

from under_wine import SMOLLM2
import device_test
import program

TEXT = ("The library was small, and in the winter it was cold. Every evening the old man who kept it lit the lamps, "
        "took down a book and read until somebody came in. ") * 4


class GpuTest(device_test.DeviceTest):
    @unittest.skip("Wine passes no signals on; wine_test.py has a server")
    def test_the_server_runs_on_it(self):
        pass

    def test_smollm2_says_what_it_says_on_the_cpu(self):
        if not SMOLLM2.exists():
            self.skipTest("scripts/fetch-smollm2 has not fetched the model")
        for prompt in ("The capital of France is", "Once upon a time, there was", "def fibonacci(n):"):
            with self.subTest(prompt=prompt):
                flags = ["--prompt", prompt, "--max-tokens", "24", "--temperature", "0", "--json"]
                on_cpu, on_gpu = (json.loads(self.run_well("generate", SMOLLM2, *flags, "--device", device).stdout)["ids"]
                                  for device in ("cpu", "gpu:0"))
                self.assertEqual(on_gpu, on_cpu)
        self.text.write_text(TEXT)
        flags = ["--data", self.text, "--window", "64", "--limit", "2", "--exact", "--json"]
        on_cpu, on_gpu = (json.loads(self.run_well("perplexity", SMOLLM2, *flags, "--device", device).stdout)[0]
                          for device in ("cpu", "gpu:0"))
        self.assertLess(abs(math.log(on_gpu["perplexity"] / on_cpu["perplexity"])), 1e-3)


if __name__ == "__main__":
    if program.PROGRAM.exists() and not device_test.gpus():
        print("Wine has no Vulkan driver here")
        sys.exit(77)
    program.main()
