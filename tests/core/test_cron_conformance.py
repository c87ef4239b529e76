"""Our fires are those of cronsim, but for the differences that docs/cron.md explains."""

import bisect
from collections import Counter
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiju_tasks.cron import check_timezone, cron_schedule, fires_between
from tests.core.clock_changes import FIRST, LAST, Change, all_changes, changes, offset_at, zones
from tests.core.cron_conformance import (
    DATES,
    KINDS,
    PARTS,
    PLAN,
    TIMES,
    expressions_of,
    groups,
    report,
    survey,
    survey_part,
    table,
)
from tests.core.cronsim_fires import cronsim_fires

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "cron.md"
NO_ZONES = {"Factory", "localtime"}


@pytest.mark.parametrize("part", range(PARTS))
def test_every_difference_to_cronsim_is_explained(part: int) -> None:
    compared = survey_part(part)
    unexplained = [d for _, differences in compared for d in differences if d.kind is None]
    assert unexplained == []


def test_every_explanation_is_needed() -> None:
    seen = Counter(d.kind.name for _, differences in survey() for d in differences if d.kind)
    assert set(seen) == {kind.name for kind in KINDS}


def test_every_zone_and_every_change_of_its_clock_is_compared() -> None:
    names = {name for same in zones().values() for name in same}
    assert names == available_timezones() - NO_ZONES
    assert all(check_timezone(name).key == name for name in names)
    compared = Counter(change for same, _ in survey() for change in same)
    each = len(expressions_of(TIMES)) + len(expressions_of(DATES))
    assert compared == Counter(dict.fromkeys(all_changes(), each))


@given(st.deferred(lambda: st.sampled_from(sorted(zones()))), st.integers(FIRST, LAST - 3 * 86400))
@settings(max_examples=500, deadline=None)
def test_between_the_changes_that_were_found_no_clock_is_changed(zone: str, instant: int) -> None:
    found = changes(zone)
    passed = bisect.bisect_right(found, instant, key=lambda change: change.instant)
    offset = found[passed - 1].after if passed else found[0].before
    assert offset_at(instant, ZoneInfo(zone)) == offset


@cache
def _alike() -> list[tuple[list[Change], list[str]]]:
    return [
        (same, expressions)
        for expressions, alike in PLAN
        for same in groups(all_changes(), alike).values()
        if len(same) > 1
    ]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_changes_that_count_as_alike_have_the_same_effect(data: st.DataObject) -> None:
    same, expressions = data.draw(st.sampled_from(_alike()))
    other = data.draw(st.sampled_from(same[1:]))
    expression = data.draw(st.sampled_from(expressions))
    assert _effect(same[0], expression) == _effect(other, expression)


def _effect(change: Change, expression: str) -> list[list[float]]:
    start, end = change.instant - 21_600.0, change.instant + 93_600.0
    ours = fires_between(cron_schedule(expression, change.zone), start, end, 99_999)
    theirs, _ = cronsim_fires(expression, change.zone, start, end)
    return [[fire - change.instant for fire in fires] for fires in (ours, theirs)]


@pytest.mark.parametrize(
    "expression",
    [
        "30 1 * * *",
        "0 9 * * 1-5",
        "0 12 L * *",
        "0 0 1 * *",
        "45 23 * * 6",
        "30 1 * * 0#1",
        "0 0 29 2 *",
        "0 0 13 * 5#2",
    ],
)
@pytest.mark.parametrize("year", [1999, 2024, 2050])
def test_a_year_of_days_is_that_of_cronsim(expression: str, year: int) -> None:
    start = (year - 1970) * 365.2425 * 86_400
    end = start + 366 * 86_400
    ours = fires_between(cron_schedule(expression), start, end, 9999)
    assert (ours, True) == cronsim_fires(expression, "UTC", start, end)


def test_the_page_lists_the_kinds_of_differences() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert table() in page, "run: python -m tests.core.cron_conformance; its end is the table"


def test_the_report_counts_each_zone() -> None:
    lines = report().splitlines()
    for names in zones().values():
        assert any(line.startswith(f"{', '.join(names)}: ") for line in lines)
    assert "UNEXPLAINED" not in report()
