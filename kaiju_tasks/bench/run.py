"""Runs the parts of the benchmark, round by round."""

from collections.abc import Sequence

from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.parts import PARTS
from kaiju_tasks.bench.rows import Figure, Row, collect

__all__ = ["run"]


async def run(options: Options, parts: Sequence[str], rounds: int) -> list[Row]:
    """Measure parts, all of them in each round, so that what changes on the machine meanwhile
    changes all of them.

    :param parts: names of parts
    """
    figures: list[Figure] = []
    for index in range(rounds):
        for name in parts:
            options.say(f"round {index + 1} of {rounds}: {name}: {PARTS[name].about}")
            figures += [figure async for figure in PARTS[name].measure(options)]
    return collect(figures)
