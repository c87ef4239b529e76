"""Statistics: what has happened, by intervals."""

import json
from typing import Any

import pytest

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.stats import Stats, bucket_of, seconds_of
from kaiju_tasks.rights import Kind
from kaiju_tasks.store.base import HOUR, MINUTE, Counted
from kaiju_tasks.types import StatName
from tests.api.test_rights import as_
from tests.manager.hand import Calls, HandExecutor, released

NOON = 1_779_998_400


@pytest.fixture
def noon(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour after noon, so that the minutes of noon are still kept."""

    async def now() -> float:
        return NOON + 3600.0

    monkeypatch.setattr(manager.store, "now", now)


async def counts(call: Calls, *names: str, **more: Any) -> dict[str, int]:
    """The counts of the last ten minutes."""
    await call.manager.stats.write()
    now = await call.manager.store.now()
    found = await call("stats.series", names=names, start=now - 600, end=now, **more)
    return {one["name"]: sum(at["count"] for at in one["points"]) for one in found["data"]}


def counted(minute: int, name: str, seconds: float | None = None, app: str = "mail") -> Counted:
    bucket = -1 if seconds is None else bucket_of(seconds)
    return Counted(MINUTE, NOON + 60 * minute, app, name, bucket, 1, seconds or 0.0)


async def test_what_happens_to_runs_and_stages_is_counted(
    executor: HandExecutor, call: Calls
) -> None:
    await call.create("one", "two", id="good")
    segment = await executor.take()
    await executor.finish(segment)
    await executor.finish(segment, stage=1)
    await call.create("work", id="bad", max_retries=1, retry_delay=0)
    await executor.fail(await executor.take())
    await executor.fail(await executor.take())
    await call.create("work", id="stopped")
    await executor.report(released(await executor.take()))
    await executor.take()
    await call("tasks.cancel", id="stopped")
    names = [str(name) for name in StatName]
    assert await counts(call, *names) == {
        "runs.started": 3,
        "runs.finished": 1,
        "runs.failed": 1,
        "runs.cancelled": 1,
        "runs.retried": 1,
        "stages.finished": 2,
        "stages.failed": 2,
        "stages.lost": 0,
        "fires.missed": 0,
        "runs.queue_seconds": 3,
        "runs.run_seconds": 3,
        "stages.seconds": 2,
    }
    assert await counts(call, "runs.started", app_name="default") == {"runs.started": 3}
    assert await counts(call, "runs.started", app_name="other") == {"runs.started": 0}


async def test_counts_of_managers_and_of_writes_are_added_up(call: Calls, noon: None) -> None:
    store = call.manager.store
    for manager_id in ("one", "one", "two"):
        await store.add_stats(manager_id, [counted(0, "runs.started"), counted(3, "runs.started")])
    found = await call("stats.series", names=["runs.started"], start=NOON, end=NOON + 300, step=120)
    assert (found["start"], found["end"], found["step"]) == (NOON, NOON + 360, 120)
    assert found["data"] == [
        {
            "name": "runs.started",
            "points": [{"at": NOON + 120 * i, "count": n} for i, n in enumerate((3, 3, 0))],
        }
    ]


async def test_durations_have_a_mean_and_percentiles(call: Calls, noon: None) -> None:
    name = "stages.seconds"
    durations = [counted(0, name, seconds / 100) for seconds in range(1, 101)]
    for one in durations:
        await call.manager.store.add_stats("one", [one])
    (series,) = (await call("stats.series", names=[name], start=NOON, end=NOON + 60))["data"]
    (point,) = series["points"]
    assert (point["count"], point["mean"]) == (100, pytest.approx(0.505))
    for name, right in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert right / 1.42 <= point[name] <= right * 1.42


@pytest.mark.parametrize("seconds", [0, 0.0005, 0.001, 0.0011, 1, 59.9, 3600, 1e7])
def test_a_duration_is_in_the_bucket_that_holds_it(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert seconds <= seconds_of(bucket) * (1 + 1e-9)
    assert bucket == 0 or seconds > seconds_of(bucket - 1)


async def test_hours_are_read_for_steps_of_hours(call: Calls) -> None:
    store = call.manager.store
    await store.add_stats("one", [counted(0, "runs.failed")])
    hour = Counted(HOUR, NOON, "mail", "runs.failed", -1, 5, 0.0)
    await store.add_stats("one", [hour])
    found = await call(
        "stats.series", names=["runs.failed"], start=NOON, end=NOON + 7200, step=HOUR
    )
    assert [point["count"] for point in found["data"][0]["points"]] == [5, 0]


async def test_what_is_counted_is_written_by_minute_and_by_hour(
    executor: HandExecutor, call: Calls
) -> None:
    await call.create("work", id="t")
    await executor.finish(await executor.take())
    await call.manager.stats.write()
    now = await call.manager.store.now()
    for step in (60, HOUR):
        found = await call(
            "stats.series", names=["runs.finished"], start=now - HOUR, end=now + 1, step=step
        )
        assert sum(point["count"] for point in found["data"][0]["points"]) == 1, step


async def test_a_failed_write_is_repeated_with_what_came_meanwhile(
    manager: Manager, call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: Any, manager_id: str, rows: Any) -> None:
        raise ConnectionError

    await call.create("work", id="t")
    await executor.finish(await executor.take())
    with monkeypatch.context() as patch:
        patch.setattr(type(manager.store), "add_stats", fails)
        with pytest.raises(ConnectionError):
            await manager.stats.write()
    await call.create("work", id="u")
    await executor.finish(await executor.take())
    assert await counts(call, "runs.finished") == {"runs.finished": 2}


async def test_a_manager_writes_its_counts_when_it_stops(
    manager: Manager, call: Calls, executor: HandExecutor
) -> None:
    stats = Stats(manager.store, manager.clock, "another")
    stats.start()
    await stats.stop()
    await call.create("work", id="t")
    await executor.finish(await executor.take())
    await manager.stats.stop()
    found = await manager.store.stat_streams(MINUTE, 0, 10**10)
    assert found == ["default"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"names": []}, "names"),
        ({"names": ["runs"]}, "names.0"),
        ({"step": 90}, "step"),
        ({"step": 0}, "step"),
        ({"start": "soon"}, "start"),
        ({"start": NOON + 600}, "start"),
        ({"start": NOON - 86_400 * 5}, "step"),
    ],
)
async def test_wrong_questions_are_refused(
    call: Calls, noon: None, params: Any, field: str
) -> None:
    asked = {"names": ["runs.started"], "start": NOON - 60, "end": NOON, "step": 60} | params
    with pytest.raises(InvalidParams) as refused:
        await call("stats.series", **asked)
    assert refused.value.field == field


async def test_minutes_are_not_read_when_they_are_no_longer_kept(call: Calls, noon: None) -> None:
    now = await call.manager.store.now()
    asked: Any = {"names": ["runs.started"], "end": now}
    for hours, step in ((48, 60), (48, 5400), (50, HOUR), (50, 24 * HOUR)):
        await call("stats.series", **asked, start=now - hours * HOUR, step=step)
    for hours, step in ((49, 60), (50, 5400)):
        with pytest.raises(InvalidParams, match="48 hours") as refused:
            await call("stats.series", **asked, start=now - hours * HOUR, step=step)
        assert refused.value.field == "step"


async def test_streams_that_are_not_seen_are_not_counted(call: Calls, noon: None) -> None:
    started = "runs.started"
    rows = [counted(0, started, app=app) for app in ("mail", "orders")]
    await call.manager.store.add_stats("one", rows)
    viewer = await as_(call, "vic", Kind.VIEWER, streams=("ord*",))

    async def seen(**more: Any) -> int:
        found = await viewer("stats.series", names=[started], start=NOON, end=NOON + 60, **more)
        total: int = found["data"][0]["points"][0]["count"]
        return total

    assert await seen() == 1
    assert await seen(app_name="orders") == 1
    assert await seen(app_name="mail") == 0


async def test_old_counts_are_pruned(call: Calls) -> None:
    store = call.manager.store
    now = await store.now()
    for days, step in ((1, MINUTE), (3, MINUTE), (3, HOUR), (91, HOUR)):
        at = int(now - days * 86_400) // HOUR * HOUR
        await store.add_stats("one", [Counted(step, at, f"{step}/{days}", "x", -1, 1, 0.0)])
    await call.manager.retention.prune()
    assert await store.stat_streams(MINUTE, 0, 10**10) == ["60/1"]
    assert await store.stat_streams(HOUR, 0, 10**10) == ["3600/3"]


async def test_any_name_of_a_stream_is_counted(call: Calls, noon: None) -> None:
    app = "q\"'\\ %s \u00e9"
    await call.manager.store.add_stats("one", [counted(0, "runs.started", app=app)])
    assert await call.manager.store.stat_streams(MINUTE, NOON, NOON + 60) == [app]
    assert json.loads(json.dumps(app)) == app
