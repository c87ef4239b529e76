"""Progress of running stages, as tasks show it: on both stores, and on every manager."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.progress import KEPT_MAX, REPORT_BYTES_MAX
from kaiju_tasks.protocol import Assignment, Lease, Report, ReportState
from kaiju_tasks.rights import ALL_SIGHT, Kind
from kaiju_tasks.store import StoredProgress
from tests.api.test_rights import as_
from tests.manager.damage import Sql
from tests.manager.hand import Calls, HandExecutor, lease_of
from tests.support.wait import wait_until


def reported(task: Assignment, value: Any, stage: int | None = None) -> Report:
    return Report(
        id=task.id,
        job_id=task.job_id,
        epoch=task.epoch,
        nonce=task.nonce,
        stage=task.stage if stage is None else stage,
        state=ReportState.PROGRESS,
        result=value if isinstance(value, Raw) else Raw(msgspec.json.encode(value)),
    )


async def shown(call: Calls, done: float, task_id: str = "t") -> dict[str, Any]:
    """Wait until a task shows this progress."""
    task: dict[str, Any] = {}

    async def there() -> bool:
        nonlocal task
        task = await call.get(task_id)
        return task["progress"] is not None and bool(task["progress"]["done"] == done)

    await wait_until(there, f"{task_id} shows that {done} units are done")
    progress: dict[str, Any] = task["progress"]
    return progress


async def stored(manager: Manager) -> str | None:
    return (await manager.store.tasks(["t"], ALL_SIGHT))["t"].progress


async def test_every_manager_shows_the_last_progress_until_the_stage_ends(
    call: Calls, executor: HandExecutor, other_manager: Manager
) -> None:
    other = Calls(other_manager)
    await call.create("one", "two", id="t")
    assignment = await executor.take()
    assert (await call.get("t"))["progress"] is None
    before = call.manager.clock.now()
    for done in range(1, 41):
        value = {"done": done, "total": 40, "message": f"page {done}"}
        await executor.report(reported(assignment, value))
    progress = await shown(other, 40)
    assert before <= progress.pop("at") <= call.manager.clock.now()
    assert progress == {"done": 40, "total": 40, "message": "page 40"}
    await executor.finish(assignment, None, 0)
    assert (await other.get("t"))["progress"] is None
    await executor.report(reported(assignment, {"done": 1}, stage=1))
    assert (await shown(call, 1))["total"] is None
    await executor.finish(assignment, None, 1)
    assert (await other.get("t"))["progress"] is None


async def test_a_list_shows_progress_when_asked(call: Calls, executor: HandExecutor) -> None:
    await call.create("one", id="t")
    await executor.report(reported(await executor.take(), {"done": 0.5, "total": 1}))
    await shown(call, 0.5)
    (asked,) = (await call("tasks.list", columns=["id", "progress"]))["data"]
    (plain,) = (await call("tasks.list"))["data"]
    assert asked["progress"]["done"] == 0.5
    assert "progress" not in plain
    (many,) = await call("tasks.m_get", ids=["t"])
    assert many["progress"]["done"] == 0.5


async def test_who_may_not_see_data_sees_no_message(call: Calls, executor: HandExecutor) -> None:
    viewer = await as_(call, "vic", Kind.VIEWER)
    ann = await as_(call, "ann", Kind.ADMIN)
    await ann.create("one", id="t")
    value = {"done": 1, "total": 2, "message": "the password is 1234"}
    await executor.report(reported(await executor.take(), value))
    assert (await shown(ann, 1))["message"] == "the password is 1234"
    hidden = await shown(viewer, 1)
    assert (hidden["done"], hidden["total"], hidden["message"]) == (1, 2, None)
    (listed,) = (await viewer("tasks.list", columns=["progress"]))["data"]
    assert listed["progress"]["message"] is None


async def test_another_attempt_shows_no_progress_of_the_one_before(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("one", id="t", max_retries=1)
    assignment = await executor.take()
    await executor.report(reported(assignment, {"done": 1}))
    await shown(call, 1)
    await executor.fail(assignment)
    again = await executor.take()
    assert (await call.get("t"))["progress"] is None
    await executor.report(reported(assignment, {"done": 2}))  # of a lease that has ended
    await executor.report(reported(again, {"done": 3}))
    await shown(call, 3)


async def test_stored_progress_is_deleted_when_nobody_runs_the_task(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("one", id="t")
    assignment = await executor.take()
    await executor.report(reported(assignment, {"done": 1}))
    await shown(call, 1)
    await executor.finish(assignment)
    store = call.manager.store

    async def deleted() -> bool:
        return not call.manager.progress.written

    await wait_until(deleted, "the progress is deleted")
    assert await store.prune_progress(10) == 0


BAD = [
    b'{"done":"many"}',
    b'{"total":1}',
    b"[1]",
    b"7",
    b"{",
    b'{"done":1,"message":"' + b"x" * REPORT_BYTES_MAX + b'"}',
    b"[" * 10_000,
]


@pytest.mark.parametrize("raw", BAD, ids=lambda raw: repr(raw[:20]))
async def test_a_report_that_is_no_progress_harms_nothing(
    call: Calls, executor: HandExecutor, raw: bytes
) -> None:
    await call.create("one", id="t")
    await call.create("one", id="u")
    first, second = await executor.take(), await executor.take()
    call.manager.progress.note(reported(first, Raw(raw)), next(iter(call.manager.sessions)), 1.0)
    await executor.report(reported(second, {"done": 2, "message": "\0" * 3 + "x" * 9_000}))
    progress = await shown(call, 2, second.id)
    assert len(progress["message"]) <= 501
    assert (await call.get(first.id))["progress"] is None


async def test_what_is_kept_of_reports_is_bounded(call: Calls, executor: HandExecutor) -> None:
    await call.create("one", id="t")
    assignment = await executor.take()
    keeper, session = call.manager.progress, next(iter(call.manager.sessions))
    await keeper.stop()
    for number in range(KEPT_MAX + 10):
        report = replace(reported(assignment, {"done": 1}), id=f"x{number}")
        keeper.note(report, session, 1.0)
    assert len(keeper.reported) == KEPT_MAX


async def test_older_progress_does_not_replace_newer(call: Calls, executor: HandExecutor) -> None:
    await call.create("one", "two", id="t")
    assignment = await executor.take()
    await executor.finish(assignment, None, 0)
    store, lease = call.manager.store, lease_of(assignment)
    await store.put_progress([StoredProgress(lease, 1, "1")], [])
    await store.put_progress([StoredProgress(lease, 0, "0")], [])
    assert await stored(call.manager) == "1"
    old = Lease(lease.id, lease.job_id, lease.epoch - 1, "n")
    await store.put_progress([], [old])
    assert await stored(call.manager) == "1"
    await store.put_progress([], [lease])
    assert await stored(call.manager) is None
    await store.put_progress([StoredProgress(Lease("t", "j", 99, "n"), 5, "5")], [])
    await store.put_progress([StoredProgress(lease, 1, "1")], [])
    assert await stored(call.manager) == "1"  # of another run
    assert await store.prune_progress(10) == 0
    await executor.finish(assignment, None, 1)
    assert await store.prune_progress(10) == 1


async def test_nothing_is_written_unless_stages_report_progress(
    call: Calls, executor: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []

    async def put(progress: Any, gone: Any) -> None:
        writes.append(len(progress))

    monkeypatch.setattr(call.manager.store, "put_progress", put)
    await call.create("one", id="t")
    assignment = await executor.take()
    await executor.finish(assignment)
    await call.manager.progress.write()
    assert writes == []
    await call.create("one", id="u")
    again = await executor.take()
    await call.manager.progress.stop()
    for done in range(100):
        await executor.report(reported(again, {"done": done}))
    await call.manager.progress.write()
    await call.manager.progress.write()
    assert writes == [1]


async def test_progress_that_cannot_be_read_is_null(
    call: Calls, other_manager: Manager, executor: HandExecutor, sql: Sql
) -> None:
    await call.create("one", id="t")
    assignment = await executor.take()
    await executor.report(reported(assignment, {"done": 1, "total": 2}))
    other = Calls(other_manager)
    await shown(other, 1)
    for damaged in ("{", "[]", "null"):
        await sql(f"UPDATE progress SET body = '{damaged}'")
        assert (await other.get("t"))["progress"] is None
        (listed,) = (await other("tasks.list", columns=["id", "progress"]))["data"]
        assert listed["progress"] is None
    await executor.finish(assignment)
