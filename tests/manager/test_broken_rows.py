"""Rows that cannot be read or advanced: they are marked, and the others go on."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kaiju_tasks.errors import Conflict
from kaiju_tasks.lifecycle import advance
from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import PATIENCE_SECONDS

Sql = Callable[[str], Awaitable[None]]


@pytest.fixture
def sql(settings: Settings) -> Sql:
    """Runs a statement beside the manager."""

    async def run(text: str) -> None:
        if settings.db.startswith("sqlite"):
            path = Path(settings.db.removeprefix("sqlite:///"))
            await asyncio.to_thread(_in_sqlite, path, text)
        else:
            connection = await asyncpg.connect(settings.db)
            await connection.execute(text)
            await connection.close()

    return run


def _in_sqlite(path: Path, text: str) -> None:
    db = sqlite3.connect(path, timeout=PATIENCE_SECONDS)
    with db:
        db.execute(text)
    db.close()


def forget(manager: Manager, *ids: str) -> None:
    """Let a manager read definitions again."""
    for task_id in ids:
        manager.committer.states.definitions.forget(task_id)


def body(patch: str) -> str:
    return f"UPDATE definitions SET body = {patch} WHERE task_id = 'bad'"


UNREADABLE = {
    "no JSON": body("'{nonsense'"),
    "another shape": body("'[]'"),
    "commands of another shape": body("replace(body, '\"method\"', '\"verb\"')"),
    "an unknown value of a later version": body(
        'replace(body, \'"max_retries":1\', \'"max_retries":1,"misfire":"tomorrow"\')'
    ),
}


def failed(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("damage", UNREADABLE)
async def test_a_due_task_whose_definition_cannot_be_read_is_marked_and_shown(
    damage: str,
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await call.create("work", id="bad", delay=1e6, max_retries=1)
    await sql(UNREADABLE[damage])
    forget(manager, "bad")
    await sql("UPDATE tasks SET due_at = 1, next_run = 1 WHERE id = 'bad'")
    manager.scheduler.look()
    bad = await call.until("bad", "FAILED")
    assert bad["error"]["type"] == "internal_error"
    assert bad["error"]["message"].startswith("the stored definition cannot be read: ")
    await call.create("work", id="good")
    assert (await executor.take()).id == "good"
    listed = (await call("tasks.list"))["data"]
    assert {one["id"]: one["status"] for one in listed}["bad"] == "FAILED"
    assert await call("tasks.explain", id="bad")
    (run,) = await call("tasks.runs", id="bad")
    assert run["status"] == "FAILED"
    manager.scheduler.look()
    await call.create("work", id="another", delay=0.01)
    assert (await executor.take()).id == "another"
    (line,) = failed(caplog)
    assert line.startswith(
        "advancing task bad failed, it is FAILED now: the stored definition cannot be read"
    )
    with pytest.raises(Conflict, match="cannot be read"):
        await call("tasks.reset", id="bad")
    await call("tasks.delete", id="bad")


async def test_a_queued_task_whose_definition_cannot_be_read_does_not_stop_its_stream(
    manager: Manager, call: Calls, sql: Sql
) -> None:
    await call.create("work", id="bad", priority=1)
    await call.create("work", id="good")
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    executor = HandExecutor(manager, "late")
    await executor.connect()
    assert (await executor.take()).id == "good"
    assert (await call.until("bad", "FAILED"))["exit_code"] == 1


async def test_a_report_for_a_task_that_cannot_be_read_ends_it_and_not_its_batch(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await call.create("work", id="bad")
    await call.create("work", id="good")
    taken = {task.id: task for task in (await executor.take(), await executor.take())}
    await sql(UNREADABLE["no JSON"])
    forget(manager, "bad")
    await executor.finish(taken["bad"])
    await executor.finish(taken["good"])
    assert (await call.until("bad", "FAILED"))["error"]["type"] == "internal_error"
    await call.until("good", "FINISHED")


async def test_a_schedule_whose_zone_is_gone_is_marked_once_and_healed_by_an_update(
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fields: dict[str, Any] = {"cron": "0 * * * *", "timezone": "Europe/Berlin"}
    await call.create("work", id="bad", **fields)
    await sql(body("replace(body, 'Europe/Berlin', 'Europe/Atlantis')"))
    forget(manager, "bad")
    await sql("UPDATE tasks SET due_at = 1, next_run = 1, fire_at = 1 WHERE id = 'bad'")
    manager.scheduler.look()
    bad = await call.until("bad", "FAILED")
    assert "Europe/Atlantis" in bad["error"]["message"]
    assert bad["next_run"] is None
    await call.create("work", id="good", delay=0.01)
    assert (await executor.take()).id == "good"
    assert len(failed(caplog)) == 1
    await call("tasks.update", id="bad", data={"timezone": "Europe/Paris"})
    healed = await call.get("bad")
    assert healed["status"] == "IDLE"
    assert healed["next_run"] > 1e9


async def test_an_error_of_the_core_ends_only_the_task_that_meets_it(
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def breaks(task: Any, event: Any, now: float) -> Any:
        if task.row.id == "bad":
            raise ZeroDivisionError("division by zero")
        return advance(task, event, now)

    await call.create("work", id="bad", delay=0.1)
    monkeypatch.setattr("kaiju_tasks.manager.writing.states.advance", breaks)
    bad = await call.until("bad", "FAILED")
    assert bad["error"]["message"] == (
        "the task cannot be continued: ZeroDivisionError: division by zero"
    )
    await call.create("work", id="good", delay=0.01)
    assert (await executor.take()).id == "good"
    assert failed(caplog) == ["advancing task bad failed, it is FAILED now: division by zero"]


async def test_a_pause_that_cannot_be_read_holds_nothing_and_hides_no_other(
    manager: Manager, call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await sql("INSERT INTO pauses (id, body) VALUES ('bad', '{')")
    await call("pauses.add", id="p1", app_name="other", reason="maintenance")
    assert [one["id"] for one in await call("pauses.list")] == ["p1"]
    await call.create("work", id="good")
    assert (await executor.take()).id == "good"


async def test_an_executor_whose_row_cannot_be_read_is_listed(
    call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await sql("UPDATE executors SET app_names = '{', commands = '{'")
    (listed,) = await call("executors.list")
    assert listed["id"] == "hand"


async def test_results_and_errors_that_are_no_json_are_null(
    call: Calls, executor: HandExecutor, sql: Sql
) -> None:
    await call.create("work", "work", id="bad")
    task = await executor.take()
    await executor.finish(task, 1)
    await executor.finish(task, 2, 1)
    await call.until("bad", "FINISHED")
    await sql("UPDATE stages SET result = '{' WHERE stage = 0")
    bad = await call.get("bad")
    assert bad["result"] == [None, 2]
    job_id = bad["job_id"]
    assert [one["result"] for one in await call("tasks.stages", job_id=job_id)] == [None, 2]
