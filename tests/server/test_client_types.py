"""What a type checker says to users of the clients."""

import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT

RIGHT = """
from typing import Any, assert_type

from kaiju_tasks import Client, Command, NewTask, SyncClient


def in_a_thread(client: SyncClient) -> None:
    task = client.tasks.create(NewTask(commands=[Command("do.echo")]), strict=True)
    assert_type(task, dict[str, Any])
    assert_type(client.tasks.wait(task["id"], timeout=5), dict[str, Any])
    assert_type(client.tasks.exists("a"), bool)
    assert_type(client.executors.list(), list[dict[str, Any]])
    for event in client.events({"id": "a"}):
        assert_type(event, dict[str, Any])


async def on_a_loop(client: Client) -> None:
    task = await client.tasks.create({"commands": []}, "ignore")
    assert_type(task, dict[str, Any])
    assert_type(await client.tasks.exists("a"), bool)
    assert_type(await client.call("tasks.new_method"), Any)
"""
WRONG = """
from kaiju_tasks import Client, SyncClient


async def wrong(client: Client, sync: SyncClient) -> None:
    await client.tasks.gett("a")
    sync.tasks.get(5)
    sync.tasks.create({}, on_conflict="never")
    await sync.tasks.get("a")
    sync.task.get("a")
    client.tasks.wait("a", seen={})
"""


def mypy(file: Path, code: str) -> list[str]:
    file.write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache")]
    found = subprocess.run(
        [*command, "--config-file", "", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return [line for line in found.stdout.splitlines() if ": error:" in line]


def test_right_calls_pass_mypy_strict(tmp_path: Path) -> None:
    assert mypy(tmp_path / "right.py", RIGHT) == []


def test_each_wrong_call_is_found_by_mypy(tmp_path: Path) -> None:
    lines = [int(line.split(":")[1]) for line in mypy(tmp_path / "wrong.py", WRONG)]
    assert sorted(set(lines)) == [6, 7, 8, 9, 10, 11]
