"""The command line, in this process, and as a process where a test is about the process."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kaiju_tasks.cli.main import cli
from tests.support.processes import ROOT
from tests.support.served import served

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in this process, with no manager to be found."""
    monkeypatch.setenv("KAIJU_URL", "http://127.0.0.1:9")

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, list(arguments), input=stdin, prog_name="kaiju-tasks")

    return run


class Shell:
    """Runs `kaiju-tasks` against one manager.

    :ivar url: the manager
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def run(self, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, in this process."""
        env: dict[str, str | None] = {
            name: None for name in os.environ if name.startswith("KAIJU_")
        }
        with contextlib.chdir(self.folder):
            ran = CliRunner(env={**env, "KAIJU_URL": self.url}).invoke(cli, arguments, stdin)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        assert "Traceback" not in ran.stderr
        return subprocess.CompletedProcess(arguments, ran.exit_code, ran.stdout, ran.stderr)

    def start(
        self, *arguments: str, stdin: str | None = None, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, as a process.

        :param variables: of its environment
        """
        env = {name: text for name, text in os.environ.items() if not name.startswith("KAIJU_")}
        completed = subprocess.run(
            [sys.executable, "-m", "kaiju_tasks.cli", *arguments],
            cwd=self.folder,
            env={**env, "KAIJU_URL": self.url, "PYTHONPATH": str(ROOT), **variables},
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
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A manager with the sample executor, and a shell to ask it from."""
    with served() as url:
        yield Shell(url, tmp_path)
