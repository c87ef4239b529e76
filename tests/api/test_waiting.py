"""`tasks.wait`: until the end, or until the task stands elsewhere than the caller has seen."""

import asyncio
import time
from typing import Any

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.api.shared_views import SharedViews
from kaiju_tasks.errors import InvalidParams, NotFound, Unauthorized, Unavailable
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.events import looks
from kaiju_tasks.rights import ALL_SIGHT, NO_SIGHT, NOBODY, Sight
from kaiju_tasks.rpc import Effort
from kaiju_tasks.store.base import Standing, StoreUnavailable
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import PATIENCE_SECONDS, wait_until

STEP_SECONDS = 0.05
QUEUED = {"status": "QUEUED", "stage": 0}


@pytest.fixture(autouse=True)
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LOOK_SECONDS", 3600.0)


async def test_a_wait_follows_a_task_from_stage_to_stage(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", "work", id="a")  # it may be leased at once
    work = await executor.take()
    task = await call("tasks.wait", id="a", timeout=60, seen=QUEUED)
    assert (task["status"], task["stage"]) == ("EXECUTED", 0)
    waiting = asyncio.ensure_future(
        call("tasks.wait", id="a", timeout=60, seen={"status": "EXECUTED", "stage": 0})
    )
    await executor.finish(work, stage=0)
    assert (await waiting)["stage"] == 1


async def test_a_wait_for_what_has_changed_already_is_over_at_once(call: Calls) -> None:
    await call.create("work", id="a")
    for seen in ({**QUEUED, "stage": 1}, {**QUEUED, "status_reason": "retry"}):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await call("tasks.wait", id="a", timeout=60, seen=seen)
    task = await call("tasks.wait", id="a", timeout=0.05, seen=QUEUED)
    assert task["status"] == "QUEUED"


async def test_what_was_seen_must_be_a_place_to_stand(call: Calls) -> None:
    await call.create("work", id="a")
    for seen, field in (({"status": "GONE", "stage": 0}, "status"), ({"status": "IDLE"}, "stage")):
        with pytest.raises(InvalidParams) as wrong:
            await call("tasks.wait", id="a", seen=seen)
        assert wrong.value.field == f"seen.{field}"


async def test_no_change_falls_between_a_look_and_the_wait(
    manager: Manager, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the task changes after its row was read and before the answer has come."""
    await call.create("work", id="a")
    tasks = manager.store.tasks
    changes = ["tasks.suspend", "tasks.cancel"]
    changing = False

    async def late(ids: list[str], sight: Sight, *, results: bool = True) -> object:
        nonlocal changing
        found = await tasks(ids, sight, results=results)
        if changes and not changing:
            changing = True
            await call(changes.pop(0), id="a")
            changing = False
        return found

    monkeypatch.setattr(manager.store, "tasks", late)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await call("tasks.wait", id="a", timeout=60))["status"] == "FAILED"


async def test_nothing_is_kept_of_a_wait_that_is_over(manager: Manager, call: Calls) -> None:
    await call.create("work", id="a")
    waits = [asyncio.ensure_future(call("tasks.wait", id="a", timeout=60)) for _ in range(3)]
    await wait_until(lambda: "a" in manager.waiters.task_ids, "they wait")
    waits[0].cancel()
    await call("tasks.cancel", id="a")
    await asyncio.gather(*waits, return_exceptions=True)
    assert not manager.waiters.task_ids


class Lossy:
    """Loses all events of changes, and counts the looks and the reads of tasks.

    :ivar looks: the ids of each statement that looks at tasks
    :ivar reads: the number of reads of whole tasks
    """

    def __init__(self, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks: list[list[str]] = []
        self.reads = 0
        self._standings, self._tasks = manager.store.standings, manager.store.tasks
        monkeypatch.setattr(looks, "LOOK_SECONDS", 0.01)
        monkeypatch.setattr(manager.waiters, "changed", lambda task_ids: None)
        monkeypatch.setattr(manager.store, "standings", self._look)
        monkeypatch.setattr(manager.store, "tasks", self._read)

    async def _look(self, ids: list[str]) -> Any:
        self.looks.append(sorted(ids))
        return await self._standings(ids)

    async def _read(self, *of: Any, **options: Any) -> Any:
        self.reads += 1
        return await self._tasks(*of, **options)

    async def further(self, count: int) -> None:
        """Wait for further looks."""
        most = len(self.looks) + count
        await wait_until(lambda: len(self.looks) >= most, "the tasks are looked at")


@pytest.fixture
def lossy(manager: Manager, monkeypatch: pytest.MonkeyPatch, no_polling: None) -> Lossy:
    return Lossy(manager, monkeypatch)


async def waiting(call: Calls, task_id: str, count: int = 1) -> list["asyncio.Task[Any]"]:
    """Waits that have begun."""
    before = len(call.manager.waiters)
    waits = [asyncio.create_task(call("tasks.wait", id=task_id, timeout=60)) for _ in range(count)]
    await wait_until(lambda: len(call.manager.waiters) == before + count, "they are counted")
    await wait_until(lambda: task_id in call.manager.waiters.task_ids, "they wait")
    return waits


async def test_all_that_wait_are_looked_at_together_and_read_only_after_a_change(
    call: Calls, lossy: Lossy
) -> None:
    for task_id in ("a", "b"):
        await call.create("work", id=task_id)
    lossy.reads = 0
    waits = [*await waiting(call, "a", 50), *await waiting(call, "b", 50)]
    assert lossy.reads <= 10
    await lossy.further(2)
    began = len(lossy.looks)
    lossy.reads = 0
    await lossy.further(5)
    assert lossy.reads == 0
    assert lossy.looks[began:] == [["a", "b"]] * (len(lossy.looks) - began)
    await call("tasks.cancel", id="a")
    lossy.reads = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert {task["id"] for task in await asyncio.gather(*waits[:50])} == {"a"}
    assert lossy.reads <= 10
    await call("tasks.cancel", id="b")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*waits[50:])


async def test_nothing_is_looked_at_while_nobody_waits(call: Calls, lossy: Lossy) -> None:
    await call.create("work", id="a")
    waits = await waiting(call, "a")
    await lossy.further(1)
    await call("tasks.cancel", id="a")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*waits)
    count = len(lossy.looks)
    call.manager.looks._next_at = 0.0
    await call.manager.looks._look()
    assert len(lossy.looks) == count


async def test_a_statement_looks_at_a_bounded_number_of_tasks(
    call: Calls, lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "IDS_MAX", 2)
    waits = []
    for task_id in "abc":
        await call.create("work", id=task_id)
        waits += await waiting(call, task_id)
    await lossy.further(6)
    assert max(map(len, lossy.looks)) == 2
    for task_id in "abc":
        await call("tasks.cancel", id=task_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*waits)


async def test_a_look_finds_a_task_that_is_deleted(call: Calls, lossy: Lossy) -> None:
    await call.create("work", id="a")
    waits = await waiting(call, "a")
    await call("tasks.delete", id="a")
    with pytest.raises(NotFound):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await waits[0]


async def test_a_look_finds_that_a_caller_has_lost_its_rights(call: Calls, lossy: Lossy) -> None:
    await call.create("work", id="a")
    caller = Caller()
    waits = await waiting(call.by(caller), "a")
    caller.principal = NOBODY
    with pytest.raises(Unauthorized):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await waits[0]


async def test_a_look_finds_that_nobody_reads_the_answer(call: Calls, lossy: Lossy) -> None:
    gone = False
    await call.create("work", id="a")
    waits = await waiting(call.by(Caller(is_gone=lambda: gone)), "a")
    gone = True
    async with asyncio.timeout(PATIENCE_SECONDS):
        await waits[0]


async def test_each_wait_reads_for_itself_after_a_look_has_failed(
    manager: Manager, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*of: Any, **options: Any) -> Any:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(looks, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(manager.store, "standings", fail)
    await call.create("work", id="a")
    waits = await waiting(call, "a")
    monkeypatch.setattr(manager.store, "tasks", fail)
    with pytest.raises((StoreUnavailable, Unavailable)):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await waits[0]


async def test_a_state_of_a_task_is_the_one_that_was_read(call: Calls, manager: Manager) -> None:
    found = {}
    for task_id, more in (("a", {}), ("b", {"delay": 3600.0}), ("c", {"every": 60.0})):
        await call.create("work", id=task_id, **more)
        views = await manager.store.tasks([task_id], ALL_SIGHT)
        found[task_id] = Standing.of(views[task_id].row)
    assert await manager.store.standings(["a", "b", "c", "d", "\0"]) == found
    await call("tasks.update", id="a", data={"description": "x"})
    assert (await manager.store.standings(["a"]))["a"] != found["a"]
    await call("tasks.delete", id="b")
    await call.create("work", id="b", delay=3600.0)
    assert (await manager.store.standings(["b"]))["b"] != found["b"]


async def test_a_read_is_shared_only_by_those_that_asked_before_it_began(
    manager: Manager, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, let_go, reads = manager.store.tasks, asyncio.Event(), 0

    async def slow(*of: Any, **options: Any) -> Any:
        nonlocal reads
        reads += 1
        found = await tasks(*of, **options)
        await let_go.wait()
        return found

    await call.create("work", id="a")
    monkeypatch.setattr(manager.store, "tasks", slow)
    views = SharedViews(manager.store)
    early = [asyncio.ensure_future(views.get("a", ALL_SIGHT)) for _ in range(3)]
    await wait_until(lambda: reads == 1, "the first read has begun")
    late = [asyncio.ensure_future(views.get("a", ALL_SIGHT)) for _ in range(3)]
    other = asyncio.ensure_future(views.get("a", NO_SIGHT))
    await wait_until(lambda: reads == 2, "another sight does not wait")
    early[0].cancel()
    late[0].cancel()
    let_go.set()
    found = await asyncio.gather(*early[1:], *late[1:])
    assert [view is not None for view in found] == [True] * 4
    assert found[0] is found[1] is not found[2]
    assert found[2] is found[3]
    assert await other is None
    assert reads == 3


async def test_what_a_shared_read_costs_counts_for_its_caller(
    manager: Manager, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(*of: Any, **options: Any) -> Any:
        time.sleep(STEP_SECONDS)
        return {}

    monkeypatch.setattr(manager.store, "tasks", work)
    effort = Effort()
    assert await effort.measure(SharedViews(manager.store).get("a", ALL_SIGHT)) is None
    assert effort.seconds >= STEP_SECONDS * 0.9
