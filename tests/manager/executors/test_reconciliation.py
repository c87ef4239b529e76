"""Leases that the store, a session and its executor do not all have are ended."""

from collections.abc import Sequence

import pytest

from kaiju_tasks.lifecycle import Acquired
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.protocol import Lease
from kaiju_tasks.rights import ALL_SIGHT
from tests.manager.hand import Calls, HandExecutor, lease_of
from tests.support.wait import wait_until


@pytest.fixture
async def idle(manager: Manager) -> HandExecutor:
    """A connected executor that gets no tasks, until it has capacity."""
    executor = HandExecutor(manager, "idle", capacity=0)
    await executor.connect()
    return executor


@pytest.fixture
async def taking(manager: Manager) -> HandExecutor:
    """A connected executor whose pings count from the first moment on."""
    manager.reconciliation._ping_interval = 0.0
    executor = HandExecutor(manager, "taking")
    await executor.connect()
    return executor


def session_of(executor: HandExecutor) -> Session:
    session = executor.manager.sessions.get(executor.id)
    assert session is not None
    return session


async def lease_unsent(executor: HandExecutor, task_id: str) -> Lease:
    """A task is leased to an executor, which is not sent it."""
    acquired = Acquired(executor_id=executor.id, nonce=f"nonce of {task_id}")
    row = (await executor.manager.committer.apply(task_id, acquired)).row
    return Lease(row.id, row.job_id or "", row.epoch, row.nonce or "")


async def says(executor: HandExecutor, *holding: Lease, pings: int = 3) -> None:
    """An executor says in several pings what it holds."""
    listed = [
        {"id": one.id, "job_id": one.job_id, "epoch": one.epoch, "nonce": one.nonce}
        for one in holding
    ]
    for _ in range(pings):
        await executor.call("manager.ping", id=executor.id, holding=listed)


async def losses(manager: Manager, task_id: str) -> int:
    return (await manager.store.tasks([task_id], ALL_SIGHT))[task_id].row.losses


async def test_a_lease_that_was_never_sent_is_given_back_and_not_counted(
    manager: Manager, idle: HandExecutor, call: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    await call.create("work", id="t")
    await lease_unsent(idle, "t")
    await manager.reconciliation.check()
    task = await call.get("t")
    assert (task["status"], await losses(manager, "t")) == ("QUEUED", 0)
    assert "1 tasks that were not sent to it" in caplog.text


async def test_a_lease_that_is_about_to_be_sent_is_left_alone(
    manager: Manager, idle: HandExecutor, call: Calls
) -> None:
    await call.create("work", id="t")
    session_of(idle).reserve((await lease_unsent(idle, "t")).nonce)
    await manager.reconciliation.check()
    assert (await call.get("t"))["status"] == "EXECUTED"


async def test_an_unsent_lease_does_not_hide_behind_an_ended_one(
    manager: Manager, taking: HandExecutor, call: Calls
) -> None:
    session = session_of(taking)
    await call.create("work", id="sent")
    sent = await taking.take()
    session.capacity = 0
    await call.create("work", id="unsent")
    await lease_unsent(taking, "unsent")
    await call("tasks.cancel", id="sent")
    session.leases["sent"] = lease_of(sent)  # as if the news had not come
    taking.revoked.clear()
    await manager.reconciliation.check()
    assert lease_of(sent) in taking.revoked
    assert (await call.get("unsent"))["status"] == "QUEUED"


async def test_leases_of_a_later_session_are_left_alone(
    manager: Manager, other_manager: Manager, idle: HandExecutor, call: Calls
) -> None:
    await call.create("work", id="t")
    elsewhere = HandExecutor(other_manager, "idle")
    await elsewhere.connect()
    taken = await elsewhere.take()
    await manager.reconciliation.check()
    assert other_manager is manager or idle.closed
    task = await call.get("t")
    assert (task["status"], taken.epoch, elsewhere.revoked) == ("EXECUTED", 1, [])


async def test_a_task_that_its_executor_does_not_hold_is_requeued_and_counted(
    manager: Manager, taking: HandExecutor, call: Calls
) -> None:
    await call.create("work", id="t")
    first = await taking.take()
    await says(taking)
    again = await taking.take()
    assert (again.id, again.epoch) == ("t", 2)
    assert (await losses(manager, "t"), taking.revoked) == (1, [lease_of(first)])


@pytest.mark.parametrize("pings", [1, 2])
async def test_a_task_that_may_still_be_on_its_way_is_left_alone(
    manager: Manager, taking: HandExecutor, call: Calls, pings: int
) -> None:
    await call.create("work", id="t")
    lease = lease_of(await taking.take())
    for _ in range(3):
        await says(taking, pings=pings)
        await says(taking, lease, pings=1)
    assert taking.revoked == []
    assert (await call.get("t"))["status"] == "EXECUTED"


async def test_pings_in_quick_succession_end_nothing(
    manager: Manager, executor: HandExecutor, call: Calls
) -> None:
    await call.create("work", id="t")
    await executor.take()
    await says(executor, pings=10)
    assert (await call.get("t"))["status"] == "EXECUTED"


async def test_an_executor_that_does_not_say_what_it_holds_keeps_it(
    taking: HandExecutor, call: Calls
) -> None:
    await call.create("work", id="t")
    task = await taking.take()
    for _ in range(5):
        await taking.ping()
    assert (await taking.finish(task)).state == "released"


async def test_a_task_that_is_lost_every_time_fails_in_the_end(
    taking: HandExecutor, call: Calls
) -> None:
    await call.create("work", id="poison", max_retries=5)
    for _ in range(3):
        await taking.take()
        await says(taking)
    task = await call.until("poison", "FAILED")
    assert (task["exit_code"], task["error"]["type"]) == (130, "executor_lost")


async def test_what_an_executor_holds_and_the_store_does_not_is_revoked(
    taking: HandExecutor,
) -> None:
    unknown = Lease("nobody", "job", 1, "nonce")
    await says(taking, unknown)
    await wait_until(lambda: taking.revoked == [unknown], "it is revoked")


async def test_a_lease_that_only_the_session_has_forgotten_goes_on(
    manager: Manager, taking: HandExecutor, call: Calls
) -> None:
    await call.create("work", id="t")
    task = await taking.take()
    session = session_of(taking)
    session.leases.clear()
    await says(taking, lease_of(task))
    await wait_until(lambda: session.has(lease_of(task)), "the session has it again")
    assert taking.revoked == []
    assert (await taking.finish(task)).state == "released"


@pytest.mark.parametrize("holding", [[{"id": "x"}], "x", [3]])
async def test_a_ping_that_lists_something_else_than_leases_is_refused(
    executor: HandExecutor, holding: Sequence[object]
) -> None:
    with pytest.raises(Exception, match="holding"):
        await executor.call("manager.ping", id="hand", holding=holding)
