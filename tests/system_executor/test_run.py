"""`kaiju-tasks run` has the manager's own executor too."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.system_executor.receiver import Receiver

ECHO = {"method": "do.echo", "params": {"data": 1}}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell("http://127.0.0.1:9", tmp_path)


async def run(shell: Shell, **task: Any) -> Any:
    (shell.folder / "task.json").write_text(json.dumps(task))
    return await asyncio.to_thread(shell.start, "run", "task.json")


async def test_a_pipeline_of_the_managers_methods_runs(shell: Shell) -> None:
    preview = {"method": "cron.preview", "params": {"cron": "@daily", "n": 1, "after": 0}}
    ran = await run(shell, app_name="manager", commands=[preview])
    assert (ran.returncode, json.loads(ran.stdout)) == (0, [86_400.0])


async def test_the_webhook_is_called_before_it_ends(shell: Shell, receiver: Receiver) -> None:
    ran = await run(shell, commands=[ECHO], webhook={"url": receiver.url})
    assert (ran.returncode, "webhook" in ran.stderr) == (0, False)
    (call,) = receiver.calls
    assert (call.json["event"], call.json["result"]) == ("task.finished", [1])


async def test_a_webhook_that_cannot_be_called_is_said(shell: Shell, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    ran = await run(shell, commands=[ECHO], webhook={"url": url})
    assert (ran.returncode, ran.stdout.strip()) == (0, "1")
    assert "The webhook was not delivered: the receiver cannot be called" in ran.stderr
