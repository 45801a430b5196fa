"""Runs Salient and its peers in turns on the same models and prints one table. See README.md."""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import models
import runs

HERE = pathlib.Path(__file__).parent
AVX2_PACKAGES = models.ROOT / ".venv-peers/avx2"  # what `run --avx2` builds


FAST_SHARE = 0.85  # of the best bandwidth of a run, from which on memory counts as fast


@dataclasses.dataclass
class Burst:
    """Some tokens decoded, and what memory gave right before and right after: 10^9 bytes a second."""
    speed: float  # tokens a second
    before: float
    after: float


@dataclasses.dataclass
class Measured:
    prefill: float  # tokens a second
    bursts: list
    load: float  # seconds to the first token
    memory: int  # bytes until then


@dataclasses.dataclass
class Peer:
    name: str
    package: str  # in PyPI; empty for Salient
    script: str  # empty for Salient, which is run itself
    file: str  # of models.make
    models: tuple = models.NAMES
    pins_itself: bool = False
    environment: dict = dataclasses.field(default_factory=dict)

    def command(self, file, given):
        numbers = ["--threads", given.threads, "--prompt-tokens", given.prompt_tokens, "--generate-tokens",
                   given.generate_tokens]
        if not self.script:
            return [models.SALIENT, "bench", file, *numbers, "--depth", 0, "--repetitions", given.bursts, "--json"]
        return [sys.executable, HERE / self.script, file, *numbers, "--bursts", given.bursts]

    def measure(self, file, given, log):
        """What was measured of one run, and how much of the CPUs others used meanwhile."""
        found = runs.run(self.command(file, given), given.cpus, log, not self.pins_itself, self.environment)
        answer = json.loads(found.output)
        if self.script:
            bursts = map(Burst, answer["decode"], answer["before"], answer["after"])
            measured = Measured(answer["prefill"], list(bursts), answer["load"], answer["memory"])
        else:
            prefill, decode = answer
            bursts = map(Burst, decode["samples"], decode["bandwidth_before"], decode["bandwidth_after"])
            one_token = [models.SALIENT, "generate", file, "--prompt", "x", "--max-tokens", 1, "--threads",
                         given.threads]
            measured = Measured(prefill["tokens_per_second"], list(bursts),
                                *runs.load(one_token, given.cpus, self.environment))
        return measured, found.foreign_percent

    def version(self):
        if self.package:
            return importlib.metadata.version(self.package)
        described = ["git", "-C", str(models.ROOT), "describe", "--always", "--dirty"]
        return subprocess.run(described, check=False, stdout=subprocess.PIPE, text=True).stdout.strip() or "unknown"


PEERS = [
    Peer("Salient", "", "", "awq"),
    Peer("llama.cpp, Q4_1", "llama-cpp-python", "llama_cpp_peer.py", "q4_1"),
    Peer("llama.cpp, Q4_0", "llama-cpp-python", "llama_cpp_peer.py", "q4_0"),
    Peer("onnxruntime-genai", "onnxruntime-genai", "onnxruntime_genai_peer.py", "onnx"),
    Peer("OpenVINO GenAI, Q4_0", "openvino-genai", "openvino_genai_peer.py", "q4_0", ("smollm2-135m",),
         pins_itself=True),
]


def arguments():
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=models.NAMES, default=models.NAMES)
    parser.add_argument("--rounds", type=int, default=5, help="undisturbed rounds wanted [%(default)s]")
    parser.add_argument("--threads", type=int, default=len(cpus), help="of every program [%(default)s]")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--generate-tokens", type=int, default=64)
    parser.add_argument("--bursts", type=int, default=3, help="of decoding in each run [%(default)s]")
    parser.add_argument("--programs", nargs="+", metavar="NAME", help="only these beside Salient: "
                        + ", ".join(peer.name for peer in PEERS[1:]))
    parser.add_argument("--avx2", action="store_true", help="only Salient held to AVX2 by SALIENT_ISA, and llama.cpp "
                        "built without anything newer")
    parser.add_argument("--foreign-limit", type=float, default=10, metavar="PERCENT",
                        help="of all CPUs' time, above which a round is dropped [%(default)s]")
    parser.add_argument("--output", type=pathlib.Path, help="file to write the table to, too")
    given = parser.parse_args()
    given.cpus = cpus[:given.threads]
    if len(given.cpus) < given.threads:
        parser.error(f"--threads is {given.threads}, but this process may use {len(cpus)} CPUs")
    return given


def choose_peers(given):
    """Those that were asked for, Salient first."""
    peers = [peer for peer in PEERS if not given.programs or peer is PEERS[0] or peer.name in given.programs]
    if not given.avx2:
        return peers
    environments = {"": {"SALIENT_ISA": "avx2"}, "llama-cpp-python": {"PYTHONPATH": str(AVX2_PACKAGES)}}
    return [dataclasses.replace(peer, environment=environments[peer.package]) for peer in peers
            if peer.package in environments]


def measure(name, given):
    """What was measured of each peer in every round that was not disturbed, and how many rounds were."""
    files = models.make(name)
    peers = [peer for peer in choose_peers(given) if name in peer.models]
    kept, foreign, dropped = [], [], 0
    while len(kept) < given.rounds and len(kept) + dropped < 3 * given.rounds:
        measured, worst = {}, 0.0
        first = (len(kept) + dropped) % len(peers)  # no program always runs behind the same other
        for peer in peers[first:] + peers[:first]:
            log = files["awq"].parent / f"{peer.package or 'salient'}.log"
            measured[peer.name], foreign_percent = peer.measure(files[peer.file], given, log)
            worst = max(worst, foreign_percent)
            bursts = ", ".join(f"{burst.speed:.1f} ({burst.before:.0f}-{burst.after:.0f} GB/s)"
                               for burst in measured[peer.name].bursts)
            print(f"{name}, round {len(kept) + dropped + 1}, {peer.name}: prefill {measured[peer.name].prefill:.1f}, "
                  f"decode {bursts} tokens/s; others used {foreign_percent:.0f} % of the CPUs", file=sys.stderr)
        if worst > given.foreign_limit:
            dropped += 1
        else:
            kept.append(measured)
            foreign.append(worst)
    return peers, kept, foreign, dropped


def bursts_of(peer, kept):
    return [burst for measured in kept for burst in measured[peer.name].bursts]


def speeds(bursts, best, fast):
    """Of the bursts around which memory gave its best, or did not, both times."""
    return [burst.speed for burst in bursts
            if (burst.before >= FAST_SHARE * best) == (burst.after >= FAST_SHARE * best) == fast]


def make_rows(name, peers, kept):
    best = max(bandwidth for peer in peers for burst in bursts_of(peer, kept)
               for bandwidth in (burst.before, burst.after))

    def samples(peer):
        bursts = bursts_of(peer, kept)
        return [[measured[peer.name].prefill for measured in kept], speeds(bursts, best, True),
                speeds(bursts, best, False)]

    salient = samples(peers[0])
    rows = []
    for peer in peers:
        cells = [name, peer.name]
        for own, others in zip(salient, samples(peer)):
            median = statistics.median(others) if others else 0
            cells.append(f"{median:.1f} ({len(others)})" if others else "none")
            cells.append(f"{statistics.median(own) / median:.2f}" if own and others and peer is not peers[0] else "")
        cells.append(f"{statistics.median(measured[peer.name].load for measured in kept):.2f}")
        cells.append(f"{statistics.median(measured[peer.name].memory for measured in kept) / 2**30:.2f}")
        rows.append(cells)
    return rows, best


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"


def main():
    given = arguments()
    decode = f"tg{given.generate_tokens} t/s"
    header = ["model", "program", f"pp{given.prompt_tokens} t/s", "Salient is", f"{decode}, fast memory", "Salient is",
              f"{decode}, slow memory", "Salient is", "first token after, s", "memory, GiB"]
    lines = [header, ["---"] * len(header)]
    notes = []
    for name in given.models:
        peers, kept, foreign, dropped = measure(name, given)
        if not kept:
            notes.append(f"{name}: all {dropped} rounds were disturbed, so there are no figures")
            continue
        rows, best = make_rows(name, peers, kept)
        lines += rows
        notes.append(f"{name}: memory gave {best:.1f} GB/s at best; {len(kept)} of the rounds count, in which others used at most {max(foreign):.0f} % of "
                     f"the CPUs; {dropped} were dropped")
    versions = ", ".join(dict.fromkeys(f"{peer.package or 'Salient'} {peer.version()}" for peer in PEERS))
    if given.avx2:
        notes.append("held to AVX2: Salient by SALIENT_ISA=avx2, llama.cpp built with GGML_NATIVE=OFF and AVX2, FMA, F16C "
                     "and BMI2 on")
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n\n" + "\n".join([
        f"{cpu_name()}, {given.threads} threads, each on a CPU of its own; Linux {platform.release()}",
        versions,
        "medians, and of how many samples: rounds, in each of which every program ran once, and their bursts of "
        "decoding; \"Salient is\": the ratio of its median to the program's",
        f"fast memory: before a burst and after it, memory gave at least {100 * FAST_SHARE:.0f} % of the best of the "
        "whole run; slow: neither time; bursts between are left out",
        "first token after: from the start of the process with Salient, from behind Python's imports with the others, "
        "files in the system's cache; memory: the peak until then",
        f"a round is dropped when, while one of its programs ran, anything else used more than "
        f"{given.foreign_limit:g} % of the time of all CPUs (/proc/stat, less the program's own)",
        *notes]) + "\n"
    print(text, end="")
    if given.output:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
