"""Schedules: tables of what fires when, and an oracle over clock changes."""

import math
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kaiju_tasks.cron import (
    calendar,
    check_timezone,
    cron_schedule,
    every_schedule,
    fires_between,
    jitter_offset,
    parse_time,
    preview,
)
from kaiju_tasks.errors import InvalidParams
from tests.support.examples import examples

NEW_YORK = "America/New_York"
BERLIN = "Europe/Berlin"
HAVANA = "America/Havana"
SANTIAGO = "America/Santiago"
LORD_HOWE = "Australia/Lord_Howe"
BEIRUT = "Asia/Beirut"
APIA = "Pacific/Apia"
TROLL = "Antarctica/Troll"

# The day before a change of clock, for each zone one on and one back.
CHANGES = [
    (NEW_YORK, "2024-03-09"),
    (NEW_YORK, "2024-11-02"),
    (BERLIN, "2024-03-30"),
    (BERLIN, "2024-10-26"),
    (HAVANA, "2024-03-09"),
    (HAVANA, "2024-11-02"),
    (SANTIAGO, "2024-09-07"),
    (SANTIAGO, "2024-04-06"),
    (LORD_HOWE, "2024-10-05"),
    (LORD_HOWE, "2024-04-06"),
    (BEIRUT, "2024-03-30"),
    (BEIRUT, "2024-10-26"),
    (TROLL, "2024-03-30"),
    (TROLL, "2024-10-26"),
    (APIA, "2011-12-29"),
    (APIA, "2012-03-31"),
]


def at(text: str, zone: str = "UTC") -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).timestamp()


def shown(fires: Iterable[float], zone: str = "UTC") -> list[str]:
    return [f"{datetime.fromtimestamp(fire, ZoneInfo(zone)):%m-%d %H:%M:%S%z}" for fire in fires]


def next_ones(expression: str, zone: str, after: str, n: int) -> list[str]:
    return shown(preview(expression, zone, n, at(after, zone)), zone)


# --- fields


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/15 * * * *", "2024-01-01T00:07:30", "2024-01-01T00:15"),
        ("0 9 * * mon-fri", "2024-01-05T09:00", "2024-01-08T09:00"),
        ("0 9 * * 7", "2024-01-01", "2024-01-07T09:00"),
        ("0 0 29 2 *", "2024-02-29", "2028-02-29"),
        ("0 0 29 2 *", "2096-03-01", "2104-02-29"),
        ("0 12 L * *", "2024-02-01", "2024-02-29T12:00"),
        ("0 12 * * 1#2", "2024-01-01", "2024-01-08T12:00"),
        ("0 12 * * L5", "2024-01-01", "2024-01-26T12:00"),
        ("0 0 13 * 5", "2024-01-01", "2024-01-05"),
        ("0 0 31 2 1", "2024-01-01", "2024-02-05"),
        ("0 0 20 * 1#2", "2024-01-08", "2024-01-20"),
        ("0 0 20 * 1#2", "2024-01-20", "2024-02-12"),
        ("0 0 15W * 1", "2024-06-11", "2024-06-14"),
        ("0 0 15W * 1", "2024-06-14", "2024-06-17"),
        ("0 0 1 JAN,jul *", "2024-01-01", "2024-07-01"),
        ("9-9 9-9 * * *", "2024-01-01T09:09", "2024-01-02T09:09"),
        ("59/15 * * * *", "2024-01-01T00:00", "2024-01-01T00:59"),
        ("10/20 * * * *", "2024-01-01T00:10", "2024-01-01T00:30"),
        ("*,5 * * * *", "2024-01-01T00:05", "2024-01-01T00:06"),
        ("0 0 *,5 * *", "2024-01-05T00:05", "2024-01-06"),
        ("0 0 5,* * 1", "2024-01-05T00:05", "2024-01-06"),
        ("0 22-2 * * *", "2024-01-01T02:00", "2024-01-01T22:00"),
        ("0 0 ? * 1", "2024-01-02", "2024-01-08"),
        ("  0   0 \t* * *  ", "2024-01-01", "2024-01-02"),
        ("* * * * * */20", "2024-01-01T00:00:20", "2024-01-01T00:00:40"),
        ("30 6 * * * 15", "2024-01-01T06:30:15", "2024-01-02T06:30:15"),
        ("59 23 31 12 * 59", "2024-01-01", "2024-12-31T23:59:59"),
        ("@hourly", "2024-01-01T00:00", "2024-01-01T01:00"),
        ("@daily", "2024-01-01", "2024-01-02"),
        ("@midnight", "2024-01-01", "2024-01-02"),
        ("@weekly", "2024-01-01", "2024-01-07"),
        ("@monthly", "2024-01-01", "2024-02-01"),
        ("@yearly", "2024-01-01", "2025-01-01"),
        ("@Annually", "2024-01-01", "2025-01-01"),
    ],
)
def test_the_next_fire_is_the_first_that_the_fields_name(
    expression: str, after: str, expected: str
) -> None:
    assert cron_schedule(expression).next_fire(at(after)) == at(expected)


def test_a_fire_is_strictly_after_the_moment_asked_about() -> None:
    schedule = cron_schedule("* * * * *")
    assert schedule.next_fire(59.999) == 60
    assert schedule.next_fire(60) == 120
    assert schedule.next_fire(60.001) == 120


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "not 0"),
        ("* * * *", "not 4"),
        ("* * * * * * *", "year field"),
        ("60 * * * *", "minute field '60'"),
        ("0 24 * * *", "hour field '24'"),
        ("0 0 0 * *", "day field '0'"),
        ("0 0 * 13 *", "month field '13'"),
        ("0 0 * * funday", "weekday field 'funday'"),
        ("0 0 * * * 60", "second field '60'"),
        ("*/0 * * * *", "minute field '*/0'"),
        ("-1 * * * *", "minute field '-1'"),
        ("\u0661 * * * *", "minute field"),
        ("0\x00 * * * *", "minute field"),
        ("\ud800 * * * *", "minute field"),
        ("9" * 300 + " * * * *", "minute field"),
        ("* " * 400, "characters"),
        ("@reboot", "not one of @hourly"),
        ("@every 5m", "`every`"),
        ("CRON_TZ=UTC 0 0 * * *", "`timezone`"),
        ("TZ=UTC 0 0 * * *", "`timezone`"),
        ("H * * * *", "hashed or random"),
        ("H/15 * * * *", "hashed or random"),
        ("0 R(0-5) * * *", "hashed or random"),
        ("0,H * * * *", "hashed or random"),
        ("0 0 31 2 *", "never fires"),
        ("0 0 30,31 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        (5, "must be text"),
        (None, "must be text"),
        (["0 0 * * *"], "must be text"),
    ],
)
def test_an_expression_that_cannot_be_meant_is_refused_with_the_reason(
    expression: Any, says: str
) -> None:
    with pytest.raises(InvalidParams) as caught:
        cron_schedule(expression)
    assert caught.value.field == "cron"
    assert says in caught.value.message


@given(st.text(alphabet="0123456789*/,-#?LWHRmonja @", max_size=24))
@settings(max_examples=examples(400), deadline=None)
def test_any_text_is_a_schedule_that_fires_or_a_friendly_refusal(text: str) -> None:
    refused = None
    try:
        fire = cron_schedule(text).next_fire(at("2024-01-01"))
    except InvalidParams as error:
        refused = error.field
    assert refused == "cron" or fire is not None


def test_the_same_arguments_give_the_same_cached_schedule() -> None:
    assert cron_schedule("7 7 * * *", BERLIN) is cron_schedule("7 7 * * *", BERLIN)


def test_a_schedule_ends_with_the_year_9999() -> None:
    for zone in (NEW_YORK, "Asia/Tokyo", "UTC"):
        schedule = cron_schedule("59 23 31 12 *", zone)
        fires = fires_between(schedule, at("9990-01-01"), math.inf, 100)
        assert 9 <= len(fires) <= 10
        assert schedule.next_fire(253402300799) is None
        assert schedule.next_fire(math.inf) is None


def test_a_moment_before_1970_means_from_1970_on() -> None:
    assert cron_schedule("* * * * *").next_fire(-math.inf) == 0


# --- changes of clock


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            NEW_YORK,
            "2024-03-09T12:00",
            ["03-10 03:00:00-0400", "03-11 02:30:00-0400"],
            id="a missing time fires at the next instant there is",
        ),
        pytest.param(
            "*/15 2 * * *",
            NEW_YORK,
            "2024-03-09T12:00",
            ["03-10 03:00:00-0400", "03-11 02:00:00-0400"],
            id="several missing times fire once together",
        ),
        pytest.param(
            "0 2,3 * * *",
            NEW_YORK,
            "2024-03-09T12:00",
            ["03-10 03:00:00-0400", "03-11 02:00:00-0400"],
            id="a missing time and the one it falls on fire once",
        ),
        pytest.param(
            "30 1 * * *",
            NEW_YORK,
            "2024-11-02T12:00",
            ["11-03 01:30:00-0400", "11-04 01:30:00-0500"],
            id="a doubled fixed time fires once",
        ),
        pytest.param(
            "*/30 1 * * *",
            NEW_YORK,
            "2024-11-02T12:00",
            ["11-03 01:00:00-0400", "11-03 01:30:00-0400", "11-04 01:00:00-0500"],
            id="minute steps in a fixed hour fire once",
        ),
        pytest.param(
            "30 1 * * *",
            NEW_YORK,
            "2024-11-03T01:40:00-05:00",
            ["11-04 01:30:00-0500"],
            id="asked in the second pass",
        ),
        pytest.param(
            "0 * * * *",
            NEW_YORK,
            "2024-03-10T00:30",
            ["03-10 01:00:00-0500", "03-10 03:00:00-0400", "03-10 04:00:00-0400"],
            id="hourly over the gap",
        ),
        pytest.param(
            "30 * * * *",
            NEW_YORK,
            "2024-03-10T00:30",
            ["03-10 01:30:00-0500", "03-10 03:30:00-0400"],
            id="half past every hour over the gap",
        ),
        pytest.param(
            "30 * * * *",
            NEW_YORK,
            "2024-11-03T00:30",
            ["11-03 01:30:00-0400", "11-03 01:30:00-0500", "11-03 02:30:00-0500"],
            id="hourly in both passes",
        ),
        pytest.param(
            "0 */2 * * *",
            NEW_YORK,
            "2024-03-09T23:00",
            ["03-10 00:00:00-0500", "03-10 03:00:00-0400", "03-10 04:00:00-0400"],
            id="every second hour makes up for a missing one",
        ),
        pytest.param(
            "0 */2 * * *",
            BERLIN,
            "2024-10-27T00:00",
            ["10-27 02:00:00+0200", "10-27 02:00:00+0100", "10-27 04:00:00+0100"],
            id="every second hour in both passes",
        ),
        pytest.param(
            "0 */24 * * *",
            HAVANA,
            "2024-11-02T12:00",
            ["11-03 00:00:00-0400", "11-04 00:00:00-0500"],
            id="a step that leaves one hour is a fixed time",
        ),
        pytest.param(
            "0 * * * *",
            LORD_HOWE,
            "2019-10-06T01:43",
            ["10-06 02:30:00+1100", "10-06 03:00:00+1100"],
            id="a gap of half an hour loses no hourly fire",
        ),
        pytest.param(
            "*/30 * * * *",
            LORD_HOWE,
            "2019-10-06T01:43",
            ["10-06 02:30:00+1100", "10-06 03:00:00+1100"],
            id="half-hourly over a gap of half an hour",
        ),
        pytest.param(
            "15 2 * * *",
            LORD_HOWE,
            "2019-10-05T12:00",
            ["10-06 02:30:00+1100", "10-07 02:15:00+1100"],
            id="a fixed time in a gap of half an hour",
        ),
        pytest.param(
            "45 1 * * *",
            LORD_HOWE,
            "2019-04-06T12:00",
            ["04-07 01:45:00+1100", "04-08 01:45:00+1030"],
            id="a fixed time in a doubled half hour",
        ),
        pytest.param(
            "45 * * * *",
            LORD_HOWE,
            "2019-04-07T01:00",
            ["04-07 01:45:00+1100", "04-07 01:45:00+1030", "04-07 02:45:00+1030"],
            id="hourly in a doubled half hour",
        ),
        pytest.param(
            "0 0 * * *",
            HAVANA,
            "2024-03-09T12:00",
            ["03-10 01:00:00-0400", "03-11 00:00:00-0400"],
            id="no midnight in Havana",
        ),
        pytest.param(
            "0 0 * * *",
            HAVANA,
            "2024-11-02T12:00",
            ["11-03 00:00:00-0400", "11-04 00:00:00-0500"],
            id="two midnights in Havana",
        ),
        pytest.param(
            "0 0 8 9 *",
            SANTIAGO,
            "2024-09-07T12:00",
            ["09-08 01:00:00-0300", "09-08 00:00:00-0300"],
            id="no midnight on the only day in Santiago",
        ),
        pytest.param(
            "30 23 * * *",
            SANTIAGO,
            "2024-04-06T12:00",
            ["04-06 23:30:00-0300", "04-07 23:30:00-0400"],
            id="the doubled hour before midnight in Santiago",
        ),
        pytest.param(
            "0 0 * * *",
            BEIRUT,
            "2024-03-30T12:00",
            ["03-31 01:00:00+0300", "04-01 00:00:00+0300"],
            id="no midnight in Beirut",
        ),
        pytest.param(
            "30 10 * * *",
            APIA,
            "2011-12-29T09:00",
            ["12-29 10:30:00-1000", "12-31 00:00:00+1400", "12-31 10:30:00+1400"],
            id="a day that Apia left out",
        ),
        pytest.param(
            "0 * 30 12 *",
            APIA,
            "2011-12-29T09:00",
            ["12-31 00:00:00+1400", "12-30 00:00:00+1400"],
            id="every hour of the day that Apia left out fires once",
        ),
        pytest.param(
            "0 * * * *",
            TROLL,
            "2024-03-31T00:30",
            ["03-31 03:00:00+0200", "03-31 04:00:00+0200"],
            id="hourly over a gap of two hours",
        ),
        pytest.param(
            "30 1,2 * * *",
            TROLL,
            "2024-10-26T12:00",
            ["10-27 01:30:00+0200", "10-27 02:30:00+0200", "10-28 01:30:00+0000"],
            id="fixed times in a doubled two hours",
        ),
        pytest.param(
            "59 1 * * * 59",
            NEW_YORK,
            "2024-11-03T01:59:58-04:00",
            ["11-03 01:59:59-0400", "11-04 01:59:59-0500"],
            id="to the second before the clock is put back",
        ),
    ],
)
def test_a_change_of_clock(expression: str, zone: str, after: str, expected: list[str]) -> None:
    assert next_ones(expression, zone, after, len(expected)) == expected


@pytest.mark.parametrize(("expression", "seconds"), [("0 * * * *", 3600), ("*/15 * * * *", 900)])
@pytest.mark.parametrize("zone", [NEW_YORK, BERLIN, HAVANA, SANTIAGO, BEIRUT, TROLL])
def test_hourly_jobs_keep_elapsed_hours_all_year(
    expression: str, seconds: float, zone: str
) -> None:
    schedule = cron_schedule(expression, zone)
    fires = fires_between(schedule, at("2024-01-01", zone), at("2025-01-01", zone), 99999)
    assert {later - fire for fire, later in pairwise(fires)} == {seconds}


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_every_second_over_a_change_of_clock_is_a_fire_each_second(zone: str, day: str) -> None:
    schedule = cron_schedule("* * * * * *", zone)
    change = _change_after(at(day, zone), zone)
    fires = fires_between(schedule, change - 5, change + 5, 100)
    assert fires == [change + step for step in range(-4, 6)]


@lru_cache
def _clock(zone: str, start: float, minutes: int) -> list[tuple[float, datetime]]:
    """Each minute with what the local clock shows then."""
    place = ZoneInfo(zone)
    instants = (start + 60 * minute for minute in range(minutes))
    return [(at, datetime.fromtimestamp(at, place).replace(tzinfo=None)) for at in instants]


def _change_after(start: float, zone: str) -> float:
    clock = _clock(zone, start, 3 * 1440)
    for (_, before), (instant, wall) in pairwise(clock):
        if wall.replace(fold=0) - before.replace(fold=0) != timedelta(minutes=1):
            return instant
    raise AssertionError(f"the clock of {zone} does not change after {start}")


def _fires_by_definition(
    zone: str, start: float, hours: set[int], minutes: set[int], *, hourly: bool
) -> list[float]:
    clock = [(instant, wall.replace(fold=0)) for instant, wall in _clock(zone, start, 4 * 1440)]

    def named(wall: datetime) -> bool:
        return wall.hour in hours and wall.minute in minutes

    fires = set()
    latest = clock[0][1]
    for instant, wall in clock[1:]:
        if hourly:
            # a lost time counts, unless it comes round anyway in elapsed time
            jump = wall - latest - timedelta(minutes=1) if wall > latest else timedelta()
            missed = (latest + timedelta(minutes=step) for step in range(1, jump // _MINUTE + 1))
            if named(wall) or any(named(lost) and not named(lost + jump) for lost in missed):
                fires.add(instant)
            latest = wall
        elif wall > latest:
            # the first instant at which the clock shows a named time, or has passed over it
            steps = range(1, (wall - latest) // _MINUTE + 1)
            if any(named(latest + timedelta(minutes=step)) for step in steps):
                fires.add(instant)
            latest = wall
    return sorted(fires)


_MINUTE = timedelta(minutes=1)
_hours = st.sets(st.integers(0, 23), min_size=1, max_size=6)
_minutes = st.sets(st.sampled_from([0, 1, 15, 20, 29, 30, 31, 45, 59]), min_size=1, max_size=4)
_hour_steps = st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12])


def _listed(values: set[int]) -> str:
    return ",".join(map(str, sorted(values)))


@given(st.sampled_from(CHANGES), _hours, _minutes, st.integers(0, 3 * 86400))
@settings(max_examples=examples(80), deadline=None)
def test_fixed_times_fire_as_defined_over_every_change(
    change: tuple[str, str], hours: set[int], minutes: set[int], later: int
) -> None:
    zone, day = change
    start = at(day, zone)
    expected = _fires_by_definition(zone, start, hours, minutes, hourly=False)
    schedule = cron_schedule(f"{_listed(minutes)} {_listed(hours)} * * *", zone)
    end = start + 4 * 86400 - 60
    after = start + later
    assert fires_between(schedule, after, end, 9999) == [fire for fire in expected if fire > after]


@given(st.sampled_from(CHANGES), _hour_steps, _minutes, st.integers(0, 3 * 86400))
@settings(max_examples=examples(80), deadline=None)
def test_hourly_jobs_fire_as_defined_over_every_change(
    change: tuple[str, str], step: int, minutes: set[int], later: int
) -> None:
    zone, day = change
    start = at(day, zone)
    hours = set(range(0, 24, step))
    expected = _fires_by_definition(zone, start, hours, minutes, hourly=True)
    schedule = cron_schedule(f"{_listed(minutes)} */{step} * * *", zone)
    end = start + 4 * 86400 - 60
    after = start + later
    assert fires_between(schedule, after, end, 9999) == [fire for fire in expected if fire > after]


_expressions = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "0 * * * *",
        "30 */3 * * *",
        "0 2 * * *",
        "30 1 * * 0",
        "15 0 1,15 * *",
        "0 0 * * 1#1",
        "0 0 L * *",
        "59 23 * 3,11 *",
        "*/20 1-3 * * 6,0",
        "* * * * * */30",
        "0 0 29 2 *",
    ]
)
_zones = st.sampled_from(
    [
        NEW_YORK,
        BERLIN,
        HAVANA,
        SANTIAGO,
        LORD_HOWE,
        BEIRUT,
        APIA,
        TROLL,
        "UTC",
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "Asia/Gaza",
        "America/Caracas",
        "Africa/Monrovia",
    ]
)


@given(_expressions, _zones, st.floats(86400, 4e9))
@example("0 0 * * *", "Africa/Monrovia", 63593069.0)  # an offset of 44 min 30 s until 1972
@settings(max_examples=examples(400), deadline=None)
def test_fires_rise_and_match_the_fields_or_stand_where_a_gap_ends(
    expression: str, zone: str, after: float
) -> None:
    schedule = cron_schedule(expression, zone)
    previous = after
    for fire in fires_between(schedule, after, math.inf, 5):
        assert fire > previous
        assert schedule.next_fire((previous + fire) / 2) == fire
        assert _is_named(expression, fire, zone) or _ends_a_gap(fire, zone)
        previous = fire


def _is_named(expression: str, instant: float, zone: str) -> bool:
    wall = _wall_seconds(instant, zone)
    return cron_schedule(expression, "UTC").next_fire(wall - 1) == wall


def _ends_a_gap(instant: float, zone: str) -> bool:
    return _wall_seconds(instant, zone) - _wall_seconds(instant - 1, zone) > 1


def _wall_seconds(instant: float, zone: str) -> float:
    local = datetime.fromtimestamp(instant, ZoneInfo(zone))
    return local.replace(tzinfo=UTC).timestamp()


# --- every


def test_an_interval_counts_from_its_anchor() -> None:
    schedule = every_schedule(90, 1000)
    assert schedule.next_fire(0) == 1000
    assert schedule.next_fire(999.5) == 1000
    assert schedule.next_fire(1000) == 1090
    assert schedule.next_fire(1000 + 90 * 10**6) == 1000 + 90 * (10**6 + 1)


@given(
    st.floats(0.1, 366 * 86400),
    st.floats(0, 4e9),
    st.integers(0, 10**6),
    st.floats(0, 1),
)
@settings(max_examples=examples(300))
def test_interval_fires_rise_and_stay_on_the_grid(
    seconds: float, anchor: float, count: int, part: float
) -> None:
    schedule = every_schedule(seconds, anchor)
    after = anchor + (count + part) * seconds
    fires = fires_between(schedule, after, math.inf, 3)
    assume(fires)
    assert fires == sorted(set(fires))
    assert fires[0] > after
    assert fires[0] - after <= seconds * (1 + 1e-9) + 1e-4
    for fire in fires:
        assert fire == anchor + round((fire - anchor) / seconds) * seconds


@pytest.mark.parametrize("seconds", [0, -1, 0.001, 4e7, math.nan, math.inf, True, "60", None])
def test_an_interval_out_of_range_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        every_schedule(seconds, 0)
    assert caught.value.field == "every"


def test_an_interval_ends_with_the_year_9999() -> None:
    assert every_schedule(86400, 0).next_fire(253402300799) is None


# --- jitter, between, preview


def test_jitter_is_the_same_on_every_machine() -> None:
    assert jitter_offset("task", 60) == pytest.approx(20.33647, abs=1e-5)


@given(st.text(), st.floats(1e-6, 1e6))
def test_jitter_is_stable_and_within_its_bound(task_id: str, jitter: float) -> None:
    assert 0 <= jitter_offset(task_id, jitter) < jitter
    assert jitter_offset(task_id, jitter) == jitter_offset(task_id, jitter)


def test_jitter_spreads_tasks_and_none_is_none() -> None:
    offsets = [jitter_offset(f"task-{number}", 100) for number in range(1000)]
    assert {int(offset // 10) for offset in offsets} == set(range(10))
    assert jitter_offset("task", 0) == 0


def test_fires_between_leaves_out_the_start_and_takes_in_the_end() -> None:
    schedule = cron_schedule("* * * * *")
    assert fires_between(schedule, 60, 240, 10) == [120, 180, 240]
    assert fires_between(schedule, 60, 240, 2) == [120, 180]
    assert fires_between(schedule, 60, 119, 2) == []


@pytest.mark.parametrize("n", [0, 101, -1, 1.5, True, "5", None])
def test_a_preview_gives_1_to_100_fires(n: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        preview("* * * * *", "UTC", n, 0)
    assert caught.value.field == "n"
    assert len(preview("* * * * *", "UTC", 100, 0)) == 100


@pytest.mark.parametrize(
    ("expression", "most"),
    [
        ("0 0 31 4,6,9,11 mon#5,tue#5", 100 + 40),  # no month has such a day, and 2 or 3 a year
        ("0 0 29 2 mon#5", 2 * 100),
        ("0 0 30 2 *", 1),
        ("* * * * *", 0),
    ],
)
def test_rare_days_are_searched_for_once(
    expression: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[Any] = []
    step = calendar._step

    def search(*args: Any) -> Any:
        searched.append(args)
        return step(*args)

    monkeypatch.setattr(calendar, "_step", search)
    with suppress(InvalidParams):
        preview(expression, "UTC", 100, 1e9)
    assert len(searched) <= most


# --- moments and zones


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        (0, "UTC", 0.0),
        (1700000000.25, "UTC", 1700000000.25),
        ("2024-01-01", "UTC", at("2024-01-01")),
        ("2024-01-01T12:00:00.5Z", BERLIN, at("2024-01-01T12:00:00.5+00:00")),
        ("2024-01-01t12:00:00z", BERLIN, at("2024-01-01T12:00:00+00:00")),
        ("2024-01-01 12:00+02:30", BERLIN, at("2024-01-01T09:30:00+00:00")),
        ("2024-01-01 12:00:05 UTC", BERLIN, at("2024-01-01T12:00:05+00:00")),
        ("2024-01-01 12:00:05 +01:00", "UTC", at("2024-01-01T11:00:05+00:00")),
        ("2024-01-01T12:00", BERLIN, at("2024-01-01T11:00:00+00:00")),
        ("2024-07-01T12:00", BERLIN, at("2024-07-01T10:00:00+00:00")),
        ("2024-03-31T02:30:10.5", BERLIN, at("2024-03-31T01:00:00+00:00")),
        ("2024-10-27T02:30:10.5", BERLIN, at("2024-10-27T00:30:10.5+00:00")),
        ("2011-12-30T10:00", APIA, at("2011-12-31T00:00:00+14:00")),
        ("1969-12-31T23:00", "America/New_York", 4 * 3600.0),
        ("9999-12-31T23:59:59", "UTC", 253402300799.0),
    ],
)
def test_a_moment_is_read(value: Any, zone: str, expected: float) -> None:
    assert parse_time(value, zone, field="next_run") == expected


@pytest.mark.parametrize(
    "value",
    [
        -1,
        253402300800,
        10**400,
        pytest.param(10**5000, id="5001 digits"),
        math.nan,
        math.inf,
        True,
        None,
        [],
        "",
        "tomorrow",
        "1700000000",
        "2024-13-01",
        "2024-01-01x10:00",
        "2024-01-01T25:00",
        "2024-01-01 12:00 CET",
        "2024-01-01 12:00  UTC",
        "0001-01-01",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-12:00",
        "2024-01-01T00:00\x00",
        "\ud800",
        "\u0662\u0660\u0662\u0664-01-01",
    ],
)
def test_what_is_no_moment_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        parse_time(value, field="next_run")
    assert caught.value.field == "next_run"
    assert "ISO-8601" in caught.value.message


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)), _zones)
def test_local_text_is_read_as_the_first_such_instant(wall: datetime, zone: str) -> None:
    assume(wall.year >= 1970)
    seconds = parse_time(wall.isoformat(), zone, field="next_run")
    shown_wall = datetime.fromtimestamp(math.floor(seconds), ZoneInfo(zone))
    assert shown_wall.fold == 0
    assert shown_wall.replace(tzinfo=None) >= wall.replace(microsecond=0)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5"])
def test_a_zone_is_found_by_its_iana_name(name: str) -> None:
    assert check_timezone(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "+03:00",
        "Europe",
        "../UTC",
        "/etc/localtime",
        "localtime",
        "posixrules",
        "posix/UTC",
        "right/UTC",
        "Factory",
        "zone.tab",
        "UTC\x00",
        "\ud800",
        "x" * 5000,
        5,
        None,
        [],
    ],
)
def test_what_is_no_iana_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidParams) as caught:
        check_timezone(name)
    assert caught.value.field == "timezone"


def test_a_zone_misspelt_is_answered_with_the_right_spelling() -> None:
    with pytest.raises(InvalidParams, match="did you mean 'Europe/Berlin'"):
        check_timezone("europe/berlin")
    with pytest.raises(InvalidParams, match="did you mean 'Europe/Berlin'"):
        cron_schedule("0 0 * * *", "Europe/Berln")
    with pytest.raises(InvalidParams) as caught:
        check_timezone("Nowhere", field="window.timezone")
    assert caught.value.field == "window.timezone"
