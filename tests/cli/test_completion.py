"""The Tab key: scripts for the shells, and what they are answered."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from kaiju_tasks.cli import completion
from kaiju_tasks.cli.fail import Failed
from kaiju_tasks.cli.main import cli
from tests.cli import walk
from tests.cli.conftest import Shell
from tests.support.processes import ROOT
from tests.support.wait import wait_until

VARIABLE = "_KAIJU_TASKS_COMPLETE"


def script(shell: str) -> str:
    """What is put in the shell's start-up file."""
    made = subprocess.run(
        [sys.executable, "-m", "kaiju_tasks.cli"],
        env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: f"{shell}_source"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def offered(*words: str, incomplete: str = "") -> list[str]:
    shell = ShellComplete(cli, {}, "kaiju-tasks", VARIABLE)
    return [item.value for item in shell.get_completions(list(words), incomplete)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_made_for_each_shell(shell: str) -> None:
    made = script(shell)
    assert f"{VARIABLE}={shell}_complete" in made
    assert "kaiju-tasks" in made


async def test_bash_completes_the_id_of_a_task_with_that_script(shell: Shell) -> None:
    for name in ("apple", "apricot", "banana"):
        await asyncio.to_thread(
            shell.run, "task", "create", "--method", "do.echo", "--set", f"id={name}"
        )
    program = (
        f"{await asyncio.to_thread(script, 'bash')}\n"
        "COMP_WORDS=(kaiju-tasks task show ap); COMP_CWORD=3\n"
        '_kaiju_tasks_completion kaiju-tasks; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    folder = Path(sys.executable).parent  # has the program itself
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "KAIJU_URL": shell.url}

    async def tab() -> list[str]:
        completed = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return sorted(completed.stdout.split())

    # A manager that takes longer than TAB_SECONDS to answer is as if it were away.
    assert await wait_until(tab, "the ids are offered") == ["apple", "apricot"]


def test_what_the_manager_knows_is_offered(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "TAB_SECONDS", 60.0)
    monkeypatch.setenv("KAIJU_URL", shell.url)
    [executor] = shell.json("executors")
    pause = shell.json("pauses", "add", "--app", "other", "--reason", "test")
    assert offered("executors", "drain") == [executor["id"]]
    assert offered("pauses", "remove") == [pause["id"]]
    assert offered("task", "list", "--app", incomplete="d") == ["default"]
    assert "do.echo" in offered("task", "create", "--method", incomplete="do.e")


def test_words_of_options_are_offered() -> None:
    assert offered("task", "list", "--status", incomplete="f") == ["finished", "failed"]
    assert offered("task", "list", "--status", incomplete="idle,q") == ["idle,queued"]
    assert offered("serve", "--log-level", incomplete="w") == ["warning"]
    assert "task" in offered(incomplete="ta")


def test_without_a_manager_nothing_is_offered_and_nothing_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAIJU_URL", "http://127.0.0.1:9")
    assert offered("task", "show", incomplete="a") == []
    monkeypatch.setenv("KAIJU_URL", "nope")
    assert offered("executors", "drain") == []
    assert capsys.readouterr() == ("", "")


def test_every_id_and_every_file_is_completed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def refuse(seconds: float, method: str, **params: Any) -> Any:
        asked.append(method)
        raise Failed("no")

    monkeypatch.setattr(completion, "call_within", refuse)
    for leaf in walk.leaves(tmp_path):
        context = click.Context(leaf.command, info_name=leaf.path[-1])
        for param in leaf.command.params:
            if param.name in ("file", "config"):
                assert [item.type for item in param.shell_complete(context, "")] == ["file"], leaf
            elif isinstance(param, click.Argument) and param.name in ("id", "ids"):
                asked.clear()
                param.shell_complete(context, "")
                room = {"task": "tasks", "token": "tokens"}.get(leaf.path[0], leaf.path[0])
                assert asked == [f"{room}.list"], leaf
