"""What every peer's script shares: its arguments, the random tokens, and the line of JSON it answers with."""

import argparse
import json
import os
import pathlib
import random
import resource
import subprocess
import time

SALIENT = pathlib.Path(__file__).resolve().parents[2] / "build/release/salient"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt-tokens", type=int, required=True)
    parser.add_argument("--generate-tokens", type=int, required=True)
    parser.add_argument("--bursts", type=int, required=True, help="of decoding")
    return parser.parse_args()


def random_tokens(count, vocabulary):
    generator = random.Random(1)
    return [generator.randrange(3, vocabulary) for _ in range(count)]


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Load:
    """What a program took until its first token: seconds, and bytes of memory at most, Python's included. Made before
    the model is opened."""

    def __init__(self):
        self.start = time.perf_counter()

    def first_token(self):
        self.seconds = time.perf_counter() - self.start
        self.bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bandwidth(threads):
    """10^9 bytes a second that memory gives now, on CPUs that no pin of this process narrows."""
    command = ["taskset", "--cpu-list", os.environ["PEER_CPUS"], SALIENT, "devices", "--measure", "--json"]
    measured = subprocess.run([*map(str, command), "--threads", str(threads)], check=True, stdout=subprocess.PIPE)
    return json.loads(measured.stdout)[0]["bandwidth_best"]


def decode_bursts(given, tokens_per_second):
    """What tokens_per_second() gives, as often as was asked for, and what memory gives before and after each."""
    around, speeds = [bandwidth(given.threads)], []
    for _ in range(given.bursts):
        speeds.append(tokens_per_second())
        around.append(bandwidth(given.threads))
    return {"decode": speeds, "before": around[:-1], "after": around[1:]}


def answer(prefill, decoded, load):
    """Tokens a second of both, and what came before."""
    print(json.dumps({"prefill": prefill, **decoded, "load": load.seconds, "memory": load.bytes}), flush=True)
