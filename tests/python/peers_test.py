"""bench/peers/runs.py: a program's output, its busy threads on CPUs of their own, and what others used meanwhile."""

import json
import os
import pathlib
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench/peers"))
import runs

# Two threads that compute outside of the interpreter's lock until each may use one CPU only, or for 20 seconds.
TWO_BUSY_THREADS = """
import hashlib, json, os, threading, time
end, block, found = time.monotonic() + 20, bytes(1 << 20), []
def work():
    while len(os.sched_getaffinity(threading.get_native_id())) > 1 and time.monotonic() < end:
        hashlib.sha256(block).digest()
    found.append(sorted(os.sched_getaffinity(threading.get_native_id())))
    while len(found) < 2 and time.monotonic() < end:
        hashlib.sha256(block).digest()
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(found))
"""


class RunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = pathlib.Path(folder.name) / "log"
        self.cpus = sorted(os.sched_getaffinity(0))

    def run_python(self, code):
        return runs.run([sys.executable, "-c", code], self.cpus[:2], self.log)

    def test_output_and_log_are_kept_apart_and_the_share_is_one(self):
        found = self.run_python("import sys; print('answer'); print('noise', file=sys.stderr)")
        self.assertEqual(found.output, "answer\n")
        self.assertEqual(self.log.read_text(), "noise\n")
        self.assertGreaterEqual(found.foreign_percent, 0)

    def test_a_program_of_our_own_is_not_foreign(self):
        busy, start = runs.machine_busy_seconds(), time.monotonic()
        found = self.run_python("import time\nwhile time.process_time() < 1: pass")
        busy, elapsed = runs.machine_busy_seconds() - busy, time.monotonic() - start
        foreign = found.foreign_percent / 100 * elapsed * os.cpu_count()
        # All that anyone used, less the second of the program; the counters are rounded to hundredths.
        self.assertLess(foreign, busy - 1 + 0.2)

    def test_a_failure_says_what_and_why(self):
        with self.assertRaisesRegex(RuntimeError, "(?s)-c.*ended with 1.*no such luck"):
            self.run_python("raise SystemExit('no such luck')")

    def test_two_busy_threads_get_a_cpu_each(self):
        if len(self.cpus) < 2:
            self.skipTest("needs two CPUs")
        first, second = json.loads(self.run_python(TWO_BUSY_THREADS).output)
        self.assertEqual((len(first), len(second)), (1, 1))
        self.assertEqual(sorted(first + second), self.cpus[:2])


if __name__ == "__main__":
    unittest.main()
