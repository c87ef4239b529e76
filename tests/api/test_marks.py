"""Marks: notes on the time line."""

from typing import Any

import pytest

from kaiju_tasks.errors import Forbidden, InvalidParams, KaijuError
from kaiju_tasks.rights import Kind
from tests.api.test_rights import as_
from tests.manager.hand import Calls


async def test_marks_are_listed_last_first(call: Calls) -> None:
    before = await call.manager.store.now()
    now = await call("marks.add", label="v2.3")
    assert before <= now["at"] <= await call.manager.store.now()
    old = await call("marks.add", label="v2.2", at="2026-01-01T00:00:00Z", app_name="mail")
    assert await call("marks.list") == [now, old]
    assert await call("marks.list", end="2026-06-01") == [old]
    assert await call("marks.list", start=old["at"], end=old["at"] + 1) == [old]
    assert await call("marks.list", start="2026-06-01", limit=1) == [now]


@pytest.mark.parametrize(
    ("params", "field"),
    [({"label": ""}, "label"), ({"label": "x", "at": "soon"}, "at")],
)
async def test_a_wrong_mark_is_refused(call: Calls, params: Any, field: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("marks.add", **params)
    assert refused.value.field == field


async def test_marks_of_streams_that_are_not_seen_are_not_listed(call: Calls) -> None:
    mail = await as_(call, "op", Kind.OPERATOR, streams=("mail",))
    added = await mail("marks.add", label="mail v2", app_name="mail")
    assert added["user_id"] == "op"
    for beyond in (None, "orders"):
        with pytest.raises(KaijuError):
            await mail("marks.add", label="x", app_name=beyond)
    root = await as_(call, "root", Kind.ADMIN)
    await root("marks.add", label="all")
    viewer = await as_(call, "vic", Kind.VIEWER, streams=("orders",))
    assert [one["label"] for one in await viewer("marks.list")] == ["all"]
    assert [one["label"] for one in await mail("marks.list")] == ["all", "mail v2"]
    with pytest.raises(Forbidden):
        await viewer("marks.add", label="x")


async def test_marks_that_are_not_seen_do_not_use_up_the_limit(call: Calls) -> None:
    root = await as_(call, "root", Kind.ADMIN)
    at = 1_790_000_000
    mine = await root("marks.add", label="seen", app_name="orders.eu", at=at)
    for n in range(1, 4):
        await root("marks.add", label=f"other {n}", app_name="mail", at=at + n)
    viewer = await as_(call, "vic", Kind.VIEWER, streams=("orders*",))
    assert await viewer("marks.list", limit=2) == [mine]


async def test_old_marks_are_pruned(call: Calls) -> None:
    old = await call("marks.add", label="old", at="2020-01-01")
    new = await call("marks.add", label="new")
    assert await call("marks.list") == [new, old]
    await call.manager.retention.prune()
    assert await call("marks.list") == [new]
