"""`streams.list`: what each stream does, and who serves it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.api import streams
from kaiju_tasks.api.streams import percentile
from kaiju_tasks.rights import Kind
from tests.api.test_rights import as_
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import wait_until


async def test_a_stream_has_its_tasks_by_what_they_do(call: Calls, executor: HandExecutor) -> None:
    await call.create("work", id="done")
    await executor.finish(await executor.take())
    await call.create("work", id="runs")
    await executor.take()
    await call.create({"method": "_MESSAGE_"}, id="waits")
    await call.create("work", id="suspended")
    await executor.take()
    await call("tasks.suspend", id="suspended")
    await call("pauses.add", app_name="mail", reason="the mail server is down")
    for id in ("paused", "paused-too"):
        await call.create("work", id=id, app_name="mail")
    await call.create("work", id="ready", app_name="other")
    await call.until("waits", "WAITING")
    listed = {one["app_name"]: one for one in await call("streams.list")}
    assert sorted(listed) == ["default", "mail", "other"]
    default = listed["default"]
    assert (default["running"], default["waiting"], default["held"]) == (1, 1, {"operator": 1})
    assert (default["executors"], default["capacity"], default["free"]) == (1, 10, 9)
    assert default["runs"] == 1
    assert 0 <= default["wait_p50"] == default["wait_p95"]
    mail = listed["mail"]
    assert (mail["ready"], mail["held"], mail["executors"]) == (0, {"paused": 2}, 0)
    assert (mail["wait_p50"], mail["runs"]) == (None, 0)
    other = listed["other"]
    queued_at = (await call.get("ready"))["queued_at"]
    assert (other["ready"], other["oldest_ready"], other["suspect"]) == (1, queued_at, 0)


async def test_a_quiet_stream_has_its_waits_beside_a_busy_one(
    call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.create("work", id="quiet")
    await executor.finish(await executor.take())
    busy = HandExecutor(call.manager, "busy")
    await busy.connect(app="busy")
    for n in range(3):
        await call.create("work", id=f"b{n}", app_name="busy")
        await busy.finish(await busy.take())
    await call.manager.stats.write()
    exact = {one["app_name"]: one for one in await call("streams.list")}["default"]
    monkeypatch.setattr(streams, "RECENT_RUNS", 2)
    found = {one["app_name"]: one for one in await call("streams.list")}
    assert (found["busy"]["runs"], found["default"]["runs"]) == (2, 1)
    least, most = exact["wait_p50"] / 1.42, max(0.001, 1.42 * exact["wait_p50"])
    assert least <= found["default"]["wait_p50"] <= found["default"]["wait_p95"] <= most
    viewer = await as_(call, "vic", Kind.VIEWER, streams=("default",))
    (seen,) = await viewer("streams.list")
    assert seen == found["default"]


async def test_disabled_and_full_tasks_are_held_with_their_reason(
    call: Calls, executor: HandExecutor
) -> None:
    one_at_once = {"key": "k", "limit": 1}
    for id in ("a", "b", "c"):
        await call.create("work", id=id, concurrency=one_at_once)
    await executor.take()
    await call.create("work", id="off", app_name="other")
    await call("tasks.update", id="off", data={"enabled": False})
    full, disabled = {"concurrency": 2}, {"disabled": 1}

    async def are_held() -> bool:
        held = {one["app_name"]: one["held"] for one in await call("streams.list")}
        return (held["default"], held["other"]) == (full, disabled)

    await wait_until(are_held, "the scheduler has found that the key is full")


async def test_streams_that_are_not_seen_are_not_listed(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", app_name="mail")
    await call.create("work")
    await executor.finish(await executor.take())
    viewer = await as_(call, "vic", Kind.VIEWER, streams=("ma*",))
    assert [one["app_name"] for one in await viewer("streams.list")] == ["mail"]


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [
        ([], 0.5, None),
        ([7.0], 0.95, 7.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0], 0.95, 2.0),
    ],
)
def test_a_percentile_is_the_least_value_that_holds(
    values: list[float], part: float, expected: float | None
) -> None:
    assert percentile(values, part) == expected


@given(values=st.lists(st.floats(0, 1e6), min_size=1), part=st.floats(0, 1, exclude_min=True))
def test_no_more_than_the_rest_exceeds_a_percentile(values: list[float], part: float) -> None:
    found = percentile(sorted(values), part)
    assert found is not None
    assert sum(value <= found for value in values) >= part * len(values) - 1e-6
    assert sum(value < found for value in values) < part * len(values) + 1e-6
