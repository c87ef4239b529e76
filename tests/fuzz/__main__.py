"""Sends hostile input for some minutes: `python -m tests.fuzz --minutes 5`.

Each round has a seed of its own, which is printed if something breaks, and `--seed` repeats it. The
exit code is 1 if something broke, or if the memory has grown.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kaiju_tasks.server import memory
from tests.fuzz.inputs import Inputs
from tests.fuzz.target import target

ROUND = 5_000
WARM_ROUNDS = 2
MOST_MIB = 64
MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, help="the seed of the first round; default the time")
    options = parser.parse_args()
    seed = int(time.time()) if options.seed is None else options.seed
    sys.exit(asyncio.run(fuzz(options.minutes, seed)))


async def fuzz(minutes: float, seed: int) -> int:
    """Send input for some minutes. Returns the exit code."""
    until, answers, sent, rounds = time.monotonic() + 60 * minutes, Counter[str](), 0, 0
    warm = 0
    with tempfile.TemporaryDirectory(prefix="kaiju-fuzz-") as folder:
        async with target(Path(folder)) as manager:
            while time.monotonic() < until:
                inputs = Inputs(seed + rounds)
                for _ in range(ROUND):
                    try:
                        await manager.send(inputs)
                    except AssertionError as error:
                        print(f"seed {seed + rounds}: {error}")
                        return 1
                sent, rounds, answers = manager.sent, rounds + 1, manager.answers
                if rounds == WARM_ROUNDS:
                    warm = memory._resident()
            grown = (memory._resident() - warm) / MIB if warm else 0.0
    counts = ", ".join(f"{name} {count}" for name, count in sorted(answers.items()))
    print(f"{sent} inputs, seeds {seed} to {seed + rounds - 1}: nothing broke; {counts}")
    print(f"memory after {WARM_ROUNDS * ROUND} inputs and in the end: {grown:+.0f} MiB")
    return 0 if grown <= MOST_MIB else 1


if __name__ == "__main__":
    main()
