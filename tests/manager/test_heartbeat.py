"""What a manager knows about its own writes."""

import asyncio

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.heartbeat import SLOW_SECONDS
from kaiju_tasks.store.base import Presence, StoreUnavailable, TransactionConflict


async def test_a_failed_write_is_a_problem_until_one_succeeds(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(manager_id: str, *seconds: float) -> Presence:
        raise StoreUnavailable("10.0.0.1: the disk is full", brief="the disk is full")

    assert manager.heartbeat.problem() is None
    with monkeypatch.context() as patched:
        patched.setattr(manager.store, "manager_seen", refuse)
        with pytest.raises(StoreUnavailable):
            await manager.heartbeat.beat()
        assert manager.heartbeat.problem() == (
            "the manager cannot write to the database: the disk is full"
        )
    await manager.heartbeat.beat()
    assert manager.heartbeat.problem() is None


async def test_a_write_conflict_is_no_problem(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def conflict(manager_id: str, *seconds: float) -> Presence:
        raise TransactionConflict("deadlock detected")

    monkeypatch.setattr(manager.store, "manager_seen", conflict)
    with pytest.raises(TransactionConflict):
        await manager.heartbeat.beat()
    assert manager.heartbeat.problem() is None


async def test_a_write_that_has_no_answer_is_a_problem_soon(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = asyncio.Event()

    seen = manager.store.manager_seen

    async def hang(manager_id: str, *seconds: float) -> Presence:
        await answer.wait()
        return await seen(manager_id, *seconds)

    with monkeypatch.context() as patched:
        patched.setattr(manager.store, "manager_seen", hang)
        beat = asyncio.create_task(manager.heartbeat.beat())
        await asyncio.sleep(0)
        assert manager.heartbeat.problem() is None
        later = asyncio.get_running_loop().time() + SLOW_SECONDS + 1
        patched.setattr(manager.heartbeat, "_clock", lambda: later)
        problem = manager.heartbeat.problem()
        assert problem is not None
        assert problem.startswith("the database has not answered a write for ")
    answer.set()
    await beat
    assert manager.heartbeat.problem() is None


async def test_a_write_that_hangs_for_a_lease_is_a_problem(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    later = loop.time() + manager.settings.lease_seconds + 1
    monkeypatch.setattr(manager.heartbeat, "_clock", lambda: later)
    problem = manager.heartbeat.problem()
    assert problem is not None
    assert problem.startswith("the manager has not written to the database for 1")
