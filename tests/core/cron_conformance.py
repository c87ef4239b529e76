"""Our fires beside those of cronsim, around every change of clock of every IANA zone.

Each difference is of one of a few kinds, which docs/cron.md explains; any other is an error.
`python -m tests.core.cron_conformance` prints what there is, zone by zone.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from kaiju_tasks.cron import cron_schedule, fires_between
from tests.core.clock_changes import Change, all_changes, zones
from tests.core.cronsim_fires import cronsim_fires

_HOUR: Final = 3600.0

TIMES: Final = """
0 * * * *|30 * * * *|*/15 * * * *|7,37 * * * *|0 */2 * * *|30 */3 * * *|45 */5 * * *
0 1-23/2 * * *|30 0-22/2 * * *|30 2-4/2 * * *|0 9-17 * * *|15,45 0,1,2,3,23 * * *
0 0 * * *|15 0 * * *|59 0 * * *|0 1 * * *|30 1 * * *|45 1 * * *|0 2 * * *|15 2 * * *|30 2 * * *
59 2 * * *|0 3 * * *|30 3 * * *|30 10 * * *|30 22 * * *|30 23 * * *|0 0,1,2,3,22,23 * * *
*/20 0 * * *|*/20 1 * * *|*/20 2 * * *|*/20 3 * * *|*/30 23 * * *|* 2 * * *|*/30 1-3 * * *
30 2 * * * 30|30 1 * * * 0|59 23 * * * 59|0 * * * * 30|*/30 * * * * 0,30|0 */2 * * * 15
"""
DATES: Final = """
0 0 1 * *|30 2 L * *|30 2 * * 0|30 1 * * 0#1|0 0 * 3,4,9,10,11 *|15 2 28-31 3,10 *
30 2 1,15 * 0|30 2 */2 * 0|*/30 1 * * 6,0|0 * * 3,10 0|0 0 2-31/3 * *|30 2 * * mon-fri
"""


def expressions_of(text: str) -> list[str]:
    """A list of expressions, of its text."""
    return text.strip().replace("\n", "|").split("|")


@dataclass(frozen=True, slots=True)
class Kind:
    """Differences that have one reason.

    :param example: an expression, a zone and a day on which it shows
    """

    name: str
    why: str
    example: tuple[str, str, str]


MADE_UP = Kind(
    "a skipped time fires after the gap",
    "cronsim does so only where neither minute nor hour begins with `*` and there are no seconds",
    ("*/30 2 * * *", "America/New_York", "2024-03-10"),
)
ONCE = Kind(
    "a fixed hour fires once",
    "cronsim repeats it where the minute begins with `*` or there are seconds",
    ("*/30 1 * * *", "America/New_York", "2024-11-03"),
)
STEPPED = Kind(
    "a step over a range counts as hourly",
    "cronsim treats an hour field that does not begin with `*` as fixed and does not repeat it",
    ("30 1-13/12 * * *", "America/New_York", "2024-11-03"),
)
COMES_ROUND = Kind(
    "a skipped time that recurs anyway does not fire after the gap",
    "as above: cronsim fires late for the 2:30 of a fixed hour, though 4:30 is two hours later",
    ("30 2-4/2 * * *", "Antarctica/Troll", "2024-03-31"),
)
PARTS_OF_AN_HOUR = Kind(
    "times near a change by, or within, part of an hour fire",
    "cronsim steps by whole hours of elapsed time and skips them",
    ("*/20 2 * * *", "Australia/Lord_Howe", "2024-04-07"),
)
NO_MIDNIGHT = Kind(
    "times on a day without midnight fire",
    "cronsim steps to the midnight of a day; an hour after that instant it is already 2:00",
    ("*/30 1 * * 0", "America/Havana", "2024-03-10"),
)
SECONDS = Kind(
    "a gap may end within a minute",
    "cronsim looks for the end of the gap in steps of a minute",
    ("0 0 * * *", "Africa/Monrovia", "1972-01-07"),
)
CIRCLES = Kind(
    "a clock may be put back within an hour",
    "cronsim goes back to the full hour, which has no second pass, and does not advance from there",
    ("*/20 0 * * *", "America/Goose_Bay", "1987-10-25"),
)
EITHER = Kind(
    "a step in the day field and a weekday: either matches",
    "cronsim requires both fields to match if one begins with `*`",
    ("0 12 */2 * 1", "UTC", "2024-01-03"),
)
KINDS: Final = [
    MADE_UP,
    ONCE,
    STEPPED,
    COMES_ROUND,
    PARTS_OF_AN_HOUR,
    NO_MIDNIGHT,
    SECONDS,
    CIRCLES,
    EITHER,
]


@dataclass(frozen=True, slots=True)
class Difference:
    """A fire of one of the two; of neither where cronsim goes round in circles.

    :param kind: None: a difference that nobody has explained
    """

    change: Change
    expression: str
    fire: float
    ours: bool
    kind: Kind | None


def compare(change: Change, expression: str) -> list[Difference]:
    """What differs from six hours before a change of clock to a day after it."""
    start, end = change.instant - 6 * _HOUR, change.instant + 26 * _HOUR
    ours = set(fires_between(cron_schedule(expression, change.zone), start, end, sys.maxsize))
    listed, complete = cronsim_fires(expression, change.zone, start, end)
    theirs = set(listed)
    found = []
    if not complete:
        ours, theirs = ({t for t in fires if t < change.instant} for fires in (ours, theirs))
        kind = CIRCLES if _in_an_hour(change) and change.put_on < 0 else None
        found.append(Difference(change, expression, change.instant, False, kind))
    for fire in sorted(ours ^ theirs):
        mine = fire in ours
        explain = _kind_of_ours if mine else _kind_of_theirs
        found.append(Difference(change, expression, fire, mine, explain(change, expression, fire)))
    return found


def _kind_of_ours(change: Change, expression: str, fire: float) -> Kind | None:
    _, _, day, _, weekday, *_ = expression.split()
    some_days = day != "*" or weekday != "*"
    gap_ends = change.put_on > 0 and fire == change.instant
    if day.startswith("*/") and weekday != "*":
        return EITHER
    if _fixed_for_cronsim(expression):
        if gap_ends and change.put_on % 60:
            return SECONDS
        return STEPPED if _hourly(expression) and _again(change, fire) else None
    named = _names(expression, fire + change.after, fire + change.after + 1)
    if some_days and named and _has_no_midnight(change) and 0 <= fire - change.instant < _HOUR:
        return NO_MIDNIGHT
    left_out = change.instant + change.before, change.instant + change.after
    if gap_ends and (named or _names(expression, *left_out)):
        return MADE_UP
    return PARTS_OF_AN_HOUR if named and _in_an_hour(change) and fire >= change.instant else None


def _kind_of_theirs(change: Change, expression: str, fire: float) -> Kind | None:
    if change.put_on > 0 and _fixed_for_cronsim(expression):
        if change.put_on % 60 and 0 < fire - change.instant < 60:
            return SECONDS
        return COMES_ROUND if _hourly(expression) and fire == change.instant else None
    return ONCE if not _hourly(expression) and _again(change, fire) else None


def _names(expression: str, start: float, end: float) -> bool:
    """Whether the fields name a local time from `start` on and before `end`."""
    named = cron_schedule(expression, "UTC").next_fire(start - 1)
    return named is not None and named < end


def _fixed_for_cronsim(expression: str) -> bool:
    minute, hour, *rest = expression.split()
    return len(rest) == 3 and not minute.startswith("*") and not hour.startswith("*")


def _hourly(expression: str) -> bool:
    hour = expression.split()[1]
    return "*" in hour or "/" in hour


def _again(change: Change, fire: float) -> bool:
    """Whether a clock that was put back shows the time of a fire for the second time."""
    return change.put_on < 0 and 0 <= fire - change.instant < -change.put_on


def _has_no_midnight(change: Change) -> bool:
    wall = change.wall
    return change.put_on > 0 and wall.time() == time()


def _in_an_hour(change: Change) -> bool:
    wall = change.wall
    return bool(change.put_on % 3600 or wall.minute or wall.second)


# -- all changes ---------------------------------------------------------------------------


def by_time(change: Change) -> Hashable:
    """All that matters to an expression of times of day: no other change is near."""
    return change.wall.time(), change.put_on, change.before if change.quiet else None


def by_date(change: Change) -> Hashable:
    """All that matters to any expression."""
    return change.wall, change.put_on, change.before if change.quiet else None


PLAN: Final = [(expressions_of(TIMES), by_time), (expressions_of(DATES), by_date)]


PARTS: Final = 16
Compared = tuple[list[Change], list[Difference]]
"""Changes that have the same effect, with the differences of the first of them."""


def survey() -> Iterator[Compared]:
    """Every change with each expression."""
    for part in range(PARTS):
        yield from survey_part(part)


@cache
def survey_part(part: int) -> list[Compared]:
    """One of `PARTS` parts of the survey; each takes a second or two."""
    return [
        (same, compare(same[0], expression))
        for expressions, alike in PLAN
        for at, same in enumerate(groups(all_changes(), alike).values())
        if at % PARTS == part
        for expression in expressions
    ]


def groups(
    changes: Iterable[Change], alike: Callable[[Change], Hashable]
) -> dict[Hashable, list[Change]]:
    """Changes that are alike."""
    found = defaultdict(list)
    for change in changes:
        found[alike(change)].append(change)
    return found


# -- what it looks like --------------------------------------------------------------------


def table() -> str:
    """The kinds, for docs/cron.md."""
    lines = [
        "| rule of kaiju_tasks | example | on | kaiju_tasks fires at | cronsim fires at | reason |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        expression, zone, day = kind.example
        ours, theirs = fires_of_a_day(expression, zone, day)
        cells = [kind.name, f"`{expression}`", f"{zone} {day}", ours, theirs, kind.why]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fires_of_a_day(expression: str, zone: str, day: str) -> tuple[str, str]:
    """Our fires on a local day, and those of cronsim, as text."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    start, end = midnight.timestamp() - 1, (midnight + timedelta(days=1)).timestamp() - 1
    ours = fires_between(cron_schedule(expression, zone), start, end, sys.maxsize)
    listed, complete = cronsim_fires(expression, zone, start - 12 * _HOUR, end)
    theirs = [fire for fire in listed if fire > start]
    return _shown(ours, zone), _shown(theirs, zone) + ("" if complete else " without end")


def _shown(fires: list[float], zone: str) -> str:
    texts = [f"{datetime.fromtimestamp(fire, ZoneInfo(zone)):%H:%M:%S}" for fire in fires]
    return ", ".join(text.removesuffix(":00") for text in texts) or "–"


def report() -> str:
    """Each zone's differences, counted by kind."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    compared: Counter[str] = Counter()
    for same, differences in survey():
        for change in same:
            compared[change.zone] += 1
            for difference in differences:
                kind = difference.kind
                counts[change.zone][kind.name if kind else f"UNEXPLAINED {difference}"] += 1
    lines = []
    for zone, names in zones().items():
        lines.append(f"{', '.join(names)}: {compared[zone]} comparisons")
        lines += [f"    {count:5} {name}" for name, count in counts[zone].most_common()]
    total = sum(counts.values(), Counter[str]())
    lines.append(f"all {len(zones())} clocks: {compared.total()} comparisons")
    return "\n".join(lines + [f"    {count:5} {name}" for name, count in total.most_common()])


if __name__ == "__main__":
    print(report())
    print(table())
