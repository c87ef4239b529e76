"""Run seeds: `python -m tests.simulation --seeds 0-1000`, or one with its trace."""

import argparse
import sys
import time
from collections import Counter

from tests.simulation.world import simulate


def main() -> int:
    """Run seeds; the exit code is 1 when one of them broke an invariant."""
    arguments = _arguments()
    failed: list[int] = []
    stats: Counter[str] = Counter()
    began = time.process_time()
    for seed in arguments.seeds:
        outcome = simulate(
            seed, echo=arguments.trace, quiet=arguments.quiet, filled=arguments.filled
        )
        stats.update(outcome.stats)
        if arguments.digests:
            print(seed, outcome.digest)
        if outcome.violations:
            failed.append(seed)
            print(outcome.verdict if arguments.trace else outcome.report, flush=True)
    seconds = time.process_time() - began
    if not arguments.digests:
        print(f"{len(arguments.seeds)} seeds in {seconds:.1f} s of CPU: {dict(stats)}")
        print(f"failed: {failed}" if failed else "every invariant held")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, required=True, help="such as 7 or 0-1000")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--quiet", action="store_true", help="without faults")
    parser.add_argument("--filled", type=float, default=0.0, help="executors with `fill`, 0 to 1")
    parser.add_argument("--digests", action="store_true", help="print a hash of each trace")
    return parser.parse_args()


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
