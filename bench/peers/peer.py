"""What every peer's script shares: its arguments, the random tokens, and the line of JSON it answers with."""

import argparse
import json
import random
import resource
import time


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt-tokens", type=int, required=True)
    parser.add_argument("--generate-tokens", type=int, required=True)
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


def answer(prefill, decode, load):
    """Tokens a second of both, and what came before."""
    print(json.dumps({"prefill": prefill, "decode": decode, "load": load.seconds, "memory": load.bytes}), flush=True)
