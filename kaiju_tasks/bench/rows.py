"""Defines the figures of a benchmark: one row for each, with the value of every round."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

Unit = Literal["tasks/s", "stages/s", "of the limit", "ms", "CPU µs", "bytes", "MiB"]
LESS_IS_BETTER: frozenset[Unit] = frozenset({"ms", "CPU µs", "bytes", "MiB"})


class Figure(Struct, frozen=True):
    """What one round measured.

    :param part: name of the part of the benchmark
    :param what: what was measured; unique in its part, with `at` and `unit`
    :param unit: `CPU µs` and `bytes` are for one task
    :param at: position on the axis of the part; None if the part has no axis
    """

    part: str
    what: str
    unit: Unit
    value: float
    at: int | None = None


class Row(Struct, frozen=True):
    """A figure with the values of all rounds. The fields are those of `Figure`.

    :param rounds: the values, in the order of the rounds
    """

    part: str
    what: str
    unit: Unit
    at: int | None
    rounds: list[float]

    @property
    def key(self) -> tuple[str, str, Unit, int | None]:
        return (self.part, self.what, self.unit, self.at)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def least(self) -> float:
        return min(self.rounds)

    @property
    def most(self) -> float:
        return max(self.rounds)

    @property
    def less_is_better(self) -> bool:
        return self.unit in LESS_IS_BETTER


def collect(figures: Iterable[Figure]) -> list[Row]:
    """Make rows of the figures of all rounds. The first round gives the order of the rows."""
    rows: dict[tuple[str, str, Unit, int | None], Row] = {}
    for one in figures:
        row = Row(one.part, one.what, one.unit, one.at, [])
        rows.setdefault(row.key, row).rounds.append(one.value)
    return list(rows.values())


def add_rounds(before: Sequence[Row], more: Sequence[Row]) -> list[Row]:
    """Return rows with the rounds of both; rows that only one of them has are kept."""
    rows = {row.key: row for row in before}
    for row in more:
        known = rows.get(row.key)
        rounds = [*known.rounds, *row.rounds] if known else row.rounds
        rows[row.key] = Row(row.part, row.what, row.unit, row.at, rounds)
    return list(rows.values())
