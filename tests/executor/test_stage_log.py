"""What an executor logs of its stages."""

import asyncio
import logging
from typing import Any

import pytest

from kaiju_tasks.executor import Context, Executor, stage_log
from kaiju_tasks.line_budget import LineBudget
from tests.executor.fakes import Rig, assignment, command, lease_of, settle

executor = Executor("app")

LOGGER = "kaiju_tasks.executor.stage"


@executor.command("work")
async def work() -> str:
    return "a result"


@executor.command("fail")
async def fail(password: str) -> None:
    raise ValueError("the disk is full")


@executor.command("hang")
async def hang() -> None:
    await asyncio.Event().wait()


@executor.command("say")
async def say(ctx: Context) -> None:
    ctx.log("halfway", rows=5)


@pytest.fixture(autouse=True)
def budget(monkeypatch, caplog):
    """No other test has used up the lines of this second, or silenced the logger."""
    caplog.set_level(logging.WARNING, LOGGER)
    monkeypatch.setattr(stage_log, "budget", LineBudget(stage_log.logger))


@pytest.fixture
async def rig():
    async with Rig(executor) as rig:
        yield rig


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(one.levelname, one.getMessage()) for one in caplog.records if one.name == LOGGER]


async def test_a_stage_is_logged_when_it_starts_and_ends(rig, caplog):
    caplog.set_level(logging.DEBUG, LOGGER)
    task = assignment(command("work"), stage=2, attempt=3)
    await rig.do(task)
    assert lines(caplog) == [("INFO", "stage started"), ("INFO", "stage finished")]
    record: Any = caplog.records[-1]
    assert (record.task_id, record.job_id, record.app_name) == (task.id, task.job_id, task.app_name)
    assert (record.stage, record.attempt, record.method, record.seconds) == (2, 3, "work", 0)
    assert "a result" not in str(vars(record))


async def test_a_failed_attempt_is_a_warning_with_its_error_and_no_parameters(rig, caplog):
    await rig.do(assignment(command("fail", params={"password": "secret-1"})))
    assert lines(caplog) == [("WARNING", "stage failed")]
    record: Any = caplog.records[-1]
    assert (record.error, record.reason) == ("execution_error", "the disk is full")
    assert "secret-1" not in str(vars(record))


async def test_a_skipped_stage_is_logged_as_skipped(rig, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    await rig.do(assignment(command("work"), command("work", condition={"0": "other"})))
    assert [text for _, text in lines(caplog)] == [
        "stage started",
        "stage finished",
        "stage started",
        "stage skipped",
    ]


async def test_a_revoked_stage_is_logged_as_stopped(rig, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    task = assignment(command("hang"))
    rig.runner.run([task])
    await settle()
    rig.runner.revoke([lease_of(task)])
    await settle()
    assert lines(caplog)[1:] == [("INFO", "stage stopped: its lease ends")]


async def test_a_line_of_a_command_names_its_attempt(rig, caplog):
    caplog.set_level(logging.INFO, "kaiju_tasks.executor.command")
    await rig.do(assignment(command("say"), attempt=2))
    record: Any = next(one for one in caplog.records if one.name.endswith("command"))
    assert (record.getMessage(), record.attempt, record.fields) == ("halfway", 2, {"rows": 5})


async def test_nothing_is_formatted_at_a_level_that_is_not_logged(rig, caplog, monkeypatch):
    caplog.set_level(logging.WARNING, LOGGER)
    made = []
    monkeypatch.setattr(logging, "LogRecord", lambda *args: made.append(args))
    await rig.do(assignment(command("work")))
    assert not made
