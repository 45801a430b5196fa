"""What every peer's script shares: its arguments, the random tokens, and the line of JSON it answers with."""

import argparse
import json
import random
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


def answer(prefill, decode):
    """Tokens a second of both."""
    print(json.dumps({"prefill": prefill, "decode": decode}), flush=True)
