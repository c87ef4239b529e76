"""The command line: in this process for arguments, as a process for what it does."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kaiju_tasks.cli.main import cli
from tests.support.processes import ROOT, Processes

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in this process, with no manager to be found."""
    monkeypatch.setenv("KAIJU_URL", "http://127.0.0.1:9")

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, list(arguments), input=stdin)

    return run


class Shell:
    """Runs `kaiju-tasks` against one manager.

    :ivar url: the manager
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def run(self, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        env = {name: text for name, text in os.environ.items() if not name.startswith("KAIJU_")}
        completed = subprocess.run(
            [sys.executable, "-m", "kaiju_tasks.cli", *arguments],
            cwd=self.folder,
            env={**env, "KAIJU_URL": self.url, "PYTHONPATH": str(ROOT)},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in completed.stderr
        return completed

    def json(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        completed = self.run(*arguments, "--json")
        assert completed.returncode == 0, completed.stderr
        return json.loads(completed.stdout)


@pytest.fixture
async def shell(processes: Processes, tmp_path: Path) -> AsyncIterator[Shell]:
    """A manager with the sample executor, and a shell to ask it from."""
    manager = processes.kaiju("serve", "--port", "0", "--executor", "kaiju_tasks.samples:executor")
    ready = await manager.logged(r"^kaiju-tasks \S+ at (\S+) ")
    await manager.logged("connected to manager")
    yield Shell(ready[1], tmp_path)
    assert "Traceback" not in manager.log
