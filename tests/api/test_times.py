"""Times in conditions: UNIX seconds and ISO-8601, on every column that holds times."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kaiju_tasks.api.filters import ISO_TIMES, UNIX_TIMES
from kaiju_tasks.api.queries import read_conditions
from kaiju_tasks.cron import parse_time
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager.events.event_matcher import EVENT_COLUMNS
from kaiju_tasks.store.base import (
    AUDIT_COLUMNS,
    BULK_COLUMNS,
    NOTIFICATION_COLUMNS,
    RUN_COLUMNS,
    TASK_COLUMNS,
)
from kaiju_tasks.times import show_time
from tests.manager.hand import Calls

COLUMNS = {
    "tasks": TASK_COLUMNS,
    "runs": RUN_COLUMNS,
    "notifications": NOTIFICATION_COLUMNS,
    "audit": AUDIT_COLUMNS,
    "bulk": BULK_COLUMNS,
}
LATER = datetime(2040, 1, 31, 9, 0, tzinfo=UTC)
FORMS = {
    "unix": LATER.timestamp(),
    "offset": "2040-01-31T10:00:00+01:00",
    "zulu": "2040-01-31T09:00:00Z",
    "no offset": "2040-01-31T09:00",
    "as shown": "2040-01-31 09:00:00 UTC",
}


@pytest.mark.parametrize("columns", [*COLUMNS.values(), EVENT_COLUMNS], ids=[*COLUMNS, "events"])
def test_every_column_with_times_is_known_as_such(columns: dict[str, type]) -> None:
    numbers = {name for name, kind in columns.items() if kind is float and name != "every"}
    assert numbers <= UNIX_TIMES
    assert {name for name in columns if name in ISO_TIMES} == columns.keys() & {"created"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("column", sorted(UNIX_TIMES | ISO_TIMES))
def test_each_form_of_a_time_is_the_same_condition(column: str, form: str) -> None:
    columns = {column: str if column in ISO_TIMES else float}
    kept: Any = "2040-01-31T09:00:00.000000+00:00" if column in ISO_TIMES else FORMS["unix"]
    (equal,) = read_conditions({column: FORMS[form]}, columns)
    (one_of,) = read_conditions({column: [FORMS[form], None]}, columns)
    (above,) = read_conditions({column: {"ge": FORMS[form]}}, columns)
    assert [equal.value, one_of.value, above.value] == [kept, [kept, None], kept]


@pytest.mark.parametrize("form", FORMS)
async def test_tasks_are_found_by_when_they_run_and_when_they_were_made(
    call: Calls, form: str
) -> None:
    await call.create("a", id="t", next_run=FORMS[form])
    assert (await call.get("t"))["next_run"] == LATER.timestamp()
    for conditions, found in (
        ({"next_run": FORMS[form]}, 1),
        ({"next_run": {"ge": FORMS[form], "lt": "2041-01-01"}}, 1),
        ({"next_run": {"gt": FORMS[form]}}, 0),
        ({"created": {"lt": FORMS[form]}}, 1),
        ({"created": {"gt": FORMS[form]}}, 0),
    ):
        assert await call("tasks.count", conditions=conditions) == {"count": found}


async def test_created_is_found_by_what_it_is_as_text_and_as_a_number(call: Calls) -> None:
    made = (await call.create("a", id="t", delay=600))["id"]
    row = (await call("tasks.list", conditions={"id": made}))["data"][0]
    at = datetime.fromisoformat(row["created"])
    berlin = (at + timedelta(hours=1)).replace(tzinfo=None).isoformat() + "+01:00"
    for value in (row["created"], at.timestamp(), berlin):
        assert await call("tasks.count", conditions={"created": value}) == {"count": 1}
    day = {"like": f"{row['created'][:10]}%"}
    assert await call("tasks.count", conditions={"created": day}) == {"count": 1}


@pytest.mark.parametrize("seconds", [-1, 0, 1e18])
async def test_a_number_that_no_time_has_is_before_or_after_all(call: Calls, seconds: Any) -> None:
    await call.create("a", id="t", next_run=LATER.timestamp())
    for column in ("created", "next_run"):
        later = await call("tasks.count", conditions={column: {"gt": seconds}})
        assert later == {"count": int(seconds < 1e18)}


@pytest.mark.parametrize("column", ["created", "next_run"])
@pytest.mark.parametrize("value", ["tomorrow", True, {"ge": "2040-13-01"}, ["x"]])
async def test_a_condition_that_is_no_time_is_refused(call: Calls, column: str, value: Any) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("tasks.list", conditions={column: value})
    assert str(refused.value.field).startswith(f"conditions.{column}")
    assert "must be UNIX seconds or ISO-8601" in str(refused.value)


async def test_a_pattern_on_numbers_is_refused(call: Calls) -> None:
    with pytest.raises(
        InvalidParams, match=r"like` needs a column with text, and `next_run` has none"
    ):
        await call("tasks.list", conditions={"next_run": {"like": "2026%"}})


@pytest.mark.parametrize("after", [2211613200, "2040-01-31T09:00", "2040-01-31T08:00:00+00:00"])
async def test_a_preview_begins_after_either_form(call: Calls, after: Any) -> None:
    fires = await call("cron.preview", cron="0 9 * * *", timezone="Europe/Berlin", n=1, after=after)
    assert fires == [parse_time("2040-02-01T09:00", "Europe/Berlin", field="")]


async def test_a_preview_names_a_wrong_start(call: Calls) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("cron.preview", cron="0 9 * * *", after="soon")
    assert refused.value.field == "after"


@pytest.mark.parametrize("seconds", [0, 0.25, 1764189065.999, 253402300799.0])
def test_a_time_is_shown_in_one_form_that_is_read_again(seconds: float) -> None:
    shown = show_time(seconds)
    assert parse_time(shown, "Asia/Tokyo", field="") == int(seconds)
    assert show_time(datetime.fromtimestamp(seconds, UTC).isoformat()) == shown


def test_what_lies_outside_of_the_calendar_is_shown_as_a_number() -> None:
    assert show_time(1e20) == "1e+20"
    assert show_time("later") == "later"
