"""What a manager logs of runs and leases."""

import logging
from typing import Any

import pytest

from kaiju_tasks.line_budget import LineBudget
from kaiju_tasks.manager import run_log
from tests.manager.hand import Calls, HandExecutor, released

LOGGER = "kaiju_tasks.manager.runs"


@pytest.fixture(autouse=True)
def budget(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No other test has used up the lines of this second, or silenced the logger."""
    caplog.set_level(logging.WARNING, LOGGER)
    monkeypatch.setattr(run_log, "budget", LineBudget(run_log.log))


def last(caplog: pytest.LogCaptureFixture) -> Any:
    return [one for one in caplog.records if one.name == LOGGER][-1]


async def test_a_finished_run_is_logged_at_level_info(
    executor: HandExecutor, call: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    task = await call.create("work", id="t")
    await executor.finish(await executor.take())
    line = last(caplog)
    assert (line.levelname, line.getMessage()) == ("INFO", "run finished")
    assert (line.task_id, line.job_id, line.app_name) == ("t", task["job_id"], task["app_name"])
    assert line.seconds >= 0


async def test_a_failed_run_is_an_error_with_its_stage_and_reason(
    executor: HandExecutor, call: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    await call.create("work", id="t")
    await executor.fail(await executor.take())
    line = last(caplog)
    assert (line.levelname, line.getMessage(), line.stage) == ("ERROR", "run failed", 0)
    error = (await call.get("t"))["error"]
    assert (line.error, line.reason) == (error["type"], error["message"])


async def test_a_cancelled_run_is_no_error(
    executor: HandExecutor, call: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    await call.create("work", id="t")
    await executor.take()
    await call("tasks.cancel", id="t")
    line = last(caplog)
    assert (line.levelname, line.getMessage()) == ("INFO", "run cancelled")


async def test_a_lease_that_moves_is_logged_with_the_executor_that_had_it(
    executor: HandExecutor, call: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    await call.create("work", id="t")
    await executor.report(released(await executor.take()))
    line = last(caplog)
    assert line.getMessage() == "lease moved: its executor gave the task back"
    assert (line.stage, line.executor_id, line.method) == (0, executor.id, "work")


async def test_a_lost_lease_is_a_warning(
    executor: HandExecutor, call: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    await call.create("work", id="t")
    await executor.take()
    await executor.cut()
    await call.until("t", "QUEUED")
    line = last(caplog)
    assert (line.levelname, line.getMessage()) == (
        "WARNING",
        "lease moved: its executor was lost",
    )
