"""Compares two runs of the benchmark, and decides which rows have changed."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from kaiju_tasks.bench.rows import Row

LEAST_ROUNDS = 4
LEAST_CHANGE = 0.05
RULE = (
    f"A row has changed if all rounds of one run are above all rounds of the other and the medians "
    f"differ by {LEAST_CHANGE:.0%} or more. Both need {LEAST_ROUNDS} rounds: without a change, 4 "
    "rounds are so ordered in 3 of 100 rows, 5 rounds in 1 of 100."
)


class Verdict(StrEnum):
    """What became of a row."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "within the noise"
    UNKNOWN = "too few rounds"


class Change(Struct, frozen=True):
    """A row in two runs.

    :param ratio: the median after, divided by that before
    """

    before: Row
    after: Row
    ratio: float
    verdict: Verdict


def compare(before: Sequence[Row], after: Sequence[Row]) -> list[Change]:
    """Compare the rows that both runs have, in the order of `after`."""
    known = {row.key: row for row in before}
    return [_change(known[row.key], row) for row in after if row.key in known]


def _change(before: Row, after: Row) -> Change:
    ratio = after.median / before.median if before.median else 1.0
    return Change(before, after, ratio, _verdict(before, after, ratio))


def _verdict(before: Row, after: Row, ratio: float) -> Verdict:
    if min(len(before.rounds), len(after.rounds)) < LEAST_ROUNDS:
        return Verdict.UNKNOWN
    apart = after.least > before.most or after.most < before.least
    if not apart or abs(ratio - 1) < LEAST_CHANGE:
        return Verdict.SAME
    return Verdict.BETTER if (ratio < 1) == after.less_is_better else Verdict.WORSE
