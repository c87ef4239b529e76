"""Cursors: only those of an earlier answer are accepted."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kaiju_tasks.api.queries import Sort, read_cursor, write_cursor
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.store.base import NOTIFICATION_COLUMNS, TASK_COLUMNS
from tests.manager.hand import Calls, HandExecutor

LISTS = ("tasks.list", "runs.list", "notifications.list", "audit.list")
BY_PRIORITY: Sort = (("priority", True), ("created", False))
OURS = write_cursor(BY_PRIORITY, [3, "2026-11-26T20:00:00.000000+00:00", "t"])
VALUES: dict[type, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_categories=["Cs"])),
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
}


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


NEST = base64.urlsafe_b64encode(b"[" * 3000).decode()
DEEP = json.loads("[" * 500 + "]" * 500)
TASK_SORT = [["created", True]]
ODD = [
    "",
    "x",
    "\u00e9",
    NEST,
    packed(None),
    packed(7),
    packed({"a": 1, "b": 2}),
    packed([[], []]),
    packed([TASK_SORT, []]),
    packed([TASK_SORT, ["2026-11-26"]]),
    packed([TASK_SORT, [7, "t"]]),
    packed([TASK_SORT, ["2026-11-26", None]]),
    packed([TASK_SORT, [["2026-11-26"], "t"]]),
    packed([TASK_SORT, [{"a": 1}, {"b": [2]}]]),
    packed([TASK_SORT, {"a": 1, "b": 2}]),
    packed([TASK_SORT, DEEP]),
    packed([[DEEP], ["2026-11-26", "t"]]),
    packed([[["created", 1]], ["2026-11-26", "t"]]),
    packed([[["created", True, True]], ["2026-11-26", "t"]]),
]


@pytest.mark.parametrize("method", LISTS)
async def test_a_cursor_that_is_none_of_ours_is_refused(call: Calls, method: str) -> None:
    for cursor in ODD:
        with pytest.raises(InvalidParams) as refused:
            await call(method, cursor=cursor)
        assert refused.value.data["field"] == "cursor", cursor


def values_of(sort: Sort) -> st.SearchStrategy[list[Any]]:
    keys = [st.none() | VALUES[TASK_COLUMNS[column]] for column, _ in sort]
    return st.tuples(*keys, VALUES[str]).map(list)


SORTS = st.lists(st.tuples(st.sampled_from(sorted(TASK_COLUMNS)), st.booleans()), min_size=1).map(
    tuple
)


@given(sort_and_values=SORTS.flatmap(lambda sort: st.tuples(st.just(sort), values_of(sort))))
def test_every_cursor_of_ours_is_read_as_it_was_written(
    sort_and_values: tuple[Sort, list[Any]],
) -> None:
    sort, values = sort_and_values
    assert read_cursor(write_cursor(sort, values), sort, TASK_COLUMNS) == values


@given(cursor=st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
@example(cursor=NEST)
def test_no_text_does_anything_else_than_being_refused(cursor: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        read_cursor(cursor, BY_PRIORITY, TASK_COLUMNS)
    assert refused.value.data["field"] == "cursor"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=JSON)
def test_a_nested_cursor_is_refused(value: Any) -> None:
    sort = [list(key) for key in BY_PRIORITY]
    for cursor in (packed(value), packed([sort, value]), packed([sort, [3, value, [value]]])):
        with pytest.raises(InvalidParams) as refused:
            read_cursor(cursor, BY_PRIORITY, TASK_COLUMNS)
        assert refused.value.data["field"] == "cursor"


@given(at=st.integers(0, len(OURS) - 1), cut=st.integers(0, 3), text=st.text(max_size=3))
def test_a_changed_cursor_is_refused_or_names_a_row(at: int, cut: int, text: str) -> None:
    changed = OURS[:at] + text + OURS[at + cut :]
    if accepted(changed):
        values = read_cursor(changed, BY_PRIORITY, TASK_COLUMNS)
        assert write_cursor(BY_PRIORITY, values) == changed
        assert [type(value) for value in values] == [int, str, str]


def accepted(cursor: str) -> bool:
    try:
        read_cursor(cursor, BY_PRIORITY, TASK_COLUMNS)
    except InvalidParams as refused:
        return refused.data["field"] != "cursor"
    return True


async def test_tasks_are_paged_by_every_column(call: Calls) -> None:
    for i in range(3):
        await call.create("work", id=f"t{i}", priority=i, group="g" if i else None)
    for column in TASK_COLUMNS:
        await pages(call, "tasks.list", column)
        await pages(call, "tasks.list", f"-{column}")


async def test_notifications_are_paged_by_every_column(call: Calls, executor: HandExecutor) -> None:
    for i in range(3):
        await call.create("work", id=f"t{i}", notify=True)
        await executor.fail(await executor.take())
        await call.until(f"t{i}", "FAILED")
    for column in NOTIFICATION_COLUMNS:
        await pages(call, "notifications.list", column)


async def pages(call: Calls, method: str, sort: str) -> None:
    """Pages of one row, by cursor, are the whole list."""
    whole = [row["id"] for row in (await call(method, sort=[sort]))["data"]]
    found: list[str] = []
    more: dict[str, Any] = {}
    for _ in whole:
        page = await call(method, sort=[sort], limit=1, **more)
        found += [row["id"] for row in page["data"]]
        more = {"cursor": page["cursor"]}
    assert found == whole, sort
    assert len(found) == 3


async def test_the_audit_is_paged_by_its_cursors(call: Calls, executor: HandExecutor) -> None:
    for action in ("drain", "suspend", "resume"):
        await call(f"executors.{action}", id="hand")
    whole = [row["id"] for row in (await call("audit.list"))["data"]]
    first = await call("audit.list", limit=1)
    second = await call("audit.list", limit=1, cursor=first["cursor"])
    assert [first["data"][0]["id"], second["data"][0]["id"]] == whole[:2]
