"""`schedules.upcoming`: the coming fires of all schedules."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.api import schedules
from kaiju_tasks.errors import InvalidParams, TooLarge
from kaiju_tasks.lifecycle import Row, coming_fires
from kaiju_tasks.rights import Kind
from tests.api.test_rights import as_
from tests.manager.hand import Calls, HandExecutor
from tests.store.making import definition

DAY = "2040-01-31T00:00:00Z", "2040-02-01T00:00:00Z"


async def test_the_fires_of_all_schedules_come_in_their_order(call: Calls) -> None:
    await call.create("work", id="nightly", cron="0 3 * * *", description="the books")
    await call.create("work", id="hourly", cron="0 */6 * * *", timezone="Europe/Berlin")
    await call.create("work", id="off", cron="0 3 * * *", enabled=False)
    await call.create("work", id="once", next_run="2040-01-31T05:00:00Z")
    await call.create("work", id="each", every=86_400, next_run="2040-01-31T04:00:00Z")
    start, end = DAY
    found = await call("schedules.upcoming", start=start, end=end)
    assert not found["more"]
    assert [(fire["id"], fire["at"] % 86_400 / 3600) for fire in found["data"]] == [
        ("nightly", 3),
        ("each", 4),
        ("hourly", 5),
        ("hourly", 11),
        ("hourly", 17),
        ("hourly", 23),
    ]
    assert (found["data"][0]["description"], found["data"][1]["every"]) == ("the books", 86_400)
    few = await call("schedules.upcoming", start=start, end=end, limit=2)
    assert (few["data"], few["more"]) == (found["data"][:2], True)
    some = await call("schedules.upcoming", start=start, end=end, conditions={"id": "each"})
    assert [fire["id"] for fire in some["data"]] == ["each"]


async def test_few_fires_are_the_first_of_all(call: Calls) -> None:
    for n in range(6):
        await call.create("work", id=f"c{n}", cron=f"0 {3 * n + 1} * * *")
        await call.create("work", id=f"e{n}", every=7_200 + n, next_run="2040-01-31T02:00:00Z")
    every_time = [DAY, ("2040-02-03T00:00:00Z", "2040-02-03T12:00:00Z")]
    for start, end in every_time:
        full = await call("schedules.upcoming", start=start, end=end, limit=1000)
        assert not full["more"]
        assert len(full["data"]) > 30
        for limit in (1, 2, 3, 7, 12, 30):
            few = await call("schedules.upcoming", start=start, end=end, limit=limit)
            assert (few["data"], few["more"]) == (full["data"][:limit], True)


@pytest.mark.parametrize("start", [DAY[0], "2040-02-03T00:00:00Z"])
async def test_more_schedules_than_are_read_at_once_fire_in_their_order(
    call: Calls, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    for n in range(9):
        await call.create("work", id=f"c{n}", cron=f"0 {23 - 2 * n} * * *")
        await call.create("work", id=f"e{n}", every=80_000 - 7_000 * n, next_run=DAY[0])
        await call.create("work", id=f"n{n}", cron="0 9 * * *")  # together
    full = await call("schedules.upcoming", start=start, end="2040-02-05T00:00:00Z", limit=1000)
    assert not full["more"]
    ordered = sorted(full["data"], key=lambda fire: (fire["at"], fire["id"]))
    assert full["data"] == ordered
    monkeypatch.setattr(schedules, "BATCH", 2)
    for limit in (1, 5, 20, 1000):
        few = await call("schedules.upcoming", start=start, end="2040-02-05T00:00:00Z", limit=limit)
        assert few == {"data": ordered[:limit], "more": limit < len(ordered)}


async def test_schedules_that_are_not_looked_at_leave_no_gap(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(8):
        await call.create("work", id=f"t{n}", every=86_400, next_run=f"2040-01-31T{n:02}:00:00Z")
    monkeypatch.setattr(schedules, "BATCH", 2)
    full = await call("schedules.upcoming", start=DAY[0], end="2040-02-03T00:00:00Z", limit=1000)
    monkeypatch.setattr(schedules, "TASKS_MAX", 8)
    assert full == await call(
        "schedules.upcoming", start=DAY[0], end="2040-02-03T00:00:00Z", limit=1000
    )
    monkeypatch.setattr(schedules, "TASKS_MAX", 4)
    some = await call("schedules.upcoming", start=DAY[0], end="2040-02-03T00:00:00Z", limit=1000)
    assert some == {"data": full["data"][:4], "more": True}
    assert [fire["id"] for fire in some["data"]] == ["t0", "t1", "t2", "t3"]
    with pytest.raises(TooLarge, match="earlier `start`") as refused:
        await call("schedules.upcoming", start=DAY[1], end="2040-02-03T00:00:00Z")
    assert (refused.value.data["field"], refused.value.data["limit"]) == ("start", 4)
    few = await call("schedules.upcoming", start=DAY[1], conditions={"id": ["t1", "t7"]})
    assert [fire["id"] for fire in few["data"]] == ["t1", "t7"]


async def test_a_schedule_that_fires_while_others_are_read_is_listed_once(
    call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        await call.create("work", id=f"t{n}", every=60, next_run=f"2040-01-31T00:00:0{n}Z")
    monkeypatch.setattr(schedules, "BATCH", 2)
    find = call.manager.store.find

    async def found_before_a_fire(*arguments: Any) -> Any:
        page = await find(*arguments)
        if any(view.row.id == "t0" for view in page.tasks):
            await call("tasks.update", id="t0", data={"next_run": "2040-01-31T00:01:00Z"})
        return page

    monkeypatch.setattr(call.manager.store, "find", found_before_a_fire)
    fires = await call("schedules.upcoming", start=DAY[0], end="2040-01-31T00:02:00Z", limit=100)
    times = [(fire["id"], fire["at"]) for fire in fires["data"]]
    assert sorted(set(times)) == sorted(times)
    assert [id for id, _ in times] == ["t0", "t1", "t2", "t3"] * 2


async def test_schedules_that_wait_for_a_retry_hide_no_fire(
    call: Calls, executor: HandExecutor
) -> None:
    retried = {"every": 7_200, "max_retries": 3, "retry_delay": 600}
    for n in range(3):
        await call.create("work", id=f"retried{n}", **retried)
        await call("tasks.run_now", id=f"retried{n}")
        run = await executor.take()
        await executor.fail(run)
        await call.until(run.id, "IDLE")
    await call.create("work", id="sooner", every=3_600)
    found = await call("schedules.upcoming", limit=2)
    assert [fire["id"] for fire in found["data"]] == ["sooner", "retried0"]
    assert found["more"]


@pytest.mark.parametrize("held", [False, True])
async def test_fires_before_a_retry_are_listed_in_no_time(
    call: Calls, executor: HandExecutor, held: bool
) -> None:
    await call.create("work", id="retried", every=600, max_retries=1, retry_delay=3600)
    await call("tasks.run_now", id="retried")
    await executor.fail(await executor.take())
    task = await call.until("retried", "IDLE")
    if held:
        task = await call("tasks.suspend", id="retried")
    retry = task["next_run"]
    start = retry - 3600
    found = (await call("schedules.upcoming", start=start, end=start + 7200))["data"]
    assert 5 <= len(found) <= 6
    assert min(fire["at"] for fire in found) >= retry
    for span in (1800, 3600, 5400):
        some = await call("schedules.upcoming", start=start, end=start + span)
        assert some == {
            "data": [fire for fire in found if fire["at"] < start + span],
            "more": False,
        }


async def test_without_a_time_it_is_the_next_day(call: Calls) -> None:
    await call.create("work", id="t", cron="0 0 * * *")
    (fire,) = (await call("schedules.upcoming"))["data"]
    assert fire["at"] == (await call.get("t"))["next_run"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"start": "soon"}, "start"),
        ({"start": 10, "end": 9}, "end"),
        ({"start": 0, "end": 400 * 86_400}, "end"),
        ({"limit": 1001}, "limit"),
        ({"conditions": {"nope": 1}}, "conditions.nope"),
    ],
)
async def test_what_is_wrong_is_named(call: Calls, params: Any, field: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call("schedules.upcoming", **params)
    assert refused.value.field == field


async def test_schedules_of_others_are_not_listed(call: Calls) -> None:
    bob = await as_(call, "bob", Kind.USER)
    await bob.create("work", id="t", cron="0 0 * * *")
    ann = await as_(call, "ann", Kind.USER)
    assert (await ann("schedules.upcoming"))["data"] == []
    assert len((await bob("schedules.upcoming"))["data"]) == 1


@given(start=st.integers(0, 4000), span=st.integers(0, 4000), jitter=st.sampled_from([0.0, 30.0]))
def test_no_fire_of_a_time_is_left_out_or_added(start: int, span: int, jitter: float) -> None:
    every = definition("t", every=60.0, jitter=jitter)
    row = Row(id="t", fire_at=600.0, anchor=600.0)
    whole = coming_fires(row, every, 0, 10_000, 1_000)
    gaps = [round(after - before, 6) for before, after in pairwise(whole)]
    assert gaps == [60.0] * (len(whole) - 1)
    expected = [fire for fire in whole if start <= fire < start + span]
    assert coming_fires(row, every, start, start + span, 1_000) == expected
