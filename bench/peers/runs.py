"""Runs one program with its busy threads each on a CPU of its own, and measures what else the machine did."""

import dataclasses
import os
import pathlib
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.05


@dataclasses.dataclass
class Run:
    output: str
    foreign_percent: float  # of all CPUs' time, used by anything but this run, while it ran


def machine_busy_seconds():
    """CPU time used by everything since the machine started, what a hypervisor took away included."""
    user, nice, system, _, _, *others = map(int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(others)) / TICKS


def thread_ticks(pid):
    """CPU time of each thread of a process."""
    ticks = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks[int(task.name)] = int(fields[11]) + int(fields[12])
    return ticks


class Pinner:
    """Gives each of the busiest threads of a process a CPU of its own. The kernel groups the threads of a process with
    each other when it shares CPUs out (sched_autogroup), and may leave two busy ones on one CPU while another program
    has the other."""

    def __init__(self, pid, cpus):
        self.pid, self.cpus = pid, cpus
        self.pinned = {}
        self.before = {}

    def look(self):
        now = thread_ticks(self.pid)
        used = {thread: ticks - self.before.get(thread, 0) for thread, ticks in now.items()}
        self.before = now
        busiest = sorted((thread for thread in used if used[thread] > 0), key=used.get, reverse=True)[:len(self.cpus)]
        if len(busiest) < len(self.cpus) or set(busiest) == set(self.pinned):
            return
        for thread in set(self.pinned) - set(busiest):
            del self.pinned[thread]
            self.move(thread, self.cpus)
        free = [cpu for cpu in self.cpus if cpu not in self.pinned.values()]
        for thread in busiest:
            if thread not in self.pinned:
                self.pinned[thread] = free.pop()
                self.move(thread, [self.pinned[thread]])

    @staticmethod
    def move(thread, cpus):
        try:
            os.sched_setaffinity(thread, cpus)
        except ProcessLookupError:
            pass


def on_cpus(command, cpus):
    return ["taskset", "--cpu-list", ",".join(map(str, cpus)), *map(str, command)]


def with_cpus(cpus, changes):
    """The environment of a program: with the CPUs it was given, which its threads' pins do not tell."""
    return {**os.environ, "PEER_CPUS": ",".join(map(str, cpus)), **(changes or {})}


def run(command, cpus, log, pin=True, environment=None):
    """Runs a command on these CPUs to its end, its busy threads pinned unless it does that itself. Fails with what it
    wrote on standard error, which goes to `log`."""
    before = os.times()
    busy_before = machine_busy_seconds()
    with tempfile.TemporaryFile("w+") as output, open(log, "w+", encoding="utf-8") as errors:
        process = subprocess.Popen(on_cpus(command, cpus), stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                   env=with_cpus(cpus, environment))
        pinner = Pinner(process.pid, cpus)
        while process.poll() is None:
            if pin:
                pinner.look()
            time.sleep(POLL_SECONDS)
        busy = machine_busy_seconds() - busy_before
        after = os.times()
        errors.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {errors.read()[-500:]}")
        output.seek(0)
        text = output.read()
    # The program's own time, and this script's, which watches it.
    own = sum(after[:4]) - sum(before[:4])
    elapsed = after.elapsed - before.elapsed
    return Run(text, max(0.0, 100 * (busy - own) / (elapsed * os.cpu_count())))


def load(command, cpus, environment=None):
    """Seconds that a command takes on these CPUs, and bytes of memory at most."""
    start = time.monotonic()
    process = subprocess.Popen(on_cpus(command, cpus), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=with_cpus(cpus, environment))
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {status}")
    return time.monotonic() - start, usage.ru_maxrss * 1024
