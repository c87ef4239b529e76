"""What lists look like on a terminal of some width, and where there is none."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from kaiju_tasks import types
from kaiju_tasks.api.params import CommandView, PauseView
from kaiju_tasks.cli.output import TIMES
from kaiju_tasks.cli.text import width
from tests.cli.conftest import Invoke, Shell
from tests.support.processes import ROOT

LONG = "invoice-2026-11-26-customer-acme-industries-00017"
WIDE = "請求書-👩🏽\u200d⚕\ufe0f-2026-11-26-第00019号"
ERROR = "the printer of the accounting department has no paper left in tray two"
LISTS = [
    ["task", "list"],
    ["task", "runs", LONG],
    ["task", "stages", LONG],
    ["task", "show", LONG],
    ["executors"],
    ["executors", "list"],
    ["executors", "commands"],
    ["notifications", "list"],
    ["pauses", "list"],
    ["audit"],
    ["bulk"],
    ["db", "status", "--db", "sqlite:///other.db"],
]
WIDTHS = [40, 80]


RUN_EACH = """
import json, sys
from kaiju_tasks.cli.main import cli
from kaiju_tasks.cli.streams import guard_streams
guard_streams()
for arguments in json.loads(sys.argv[1]):
    try:
        cli.main(arguments, prog_name="kaiju-tasks")
    except SystemExit as end:
        print(f"exit code {end.code}")
"""


def on_terminal(shell: Shell, cells: int, *arguments: str) -> list[str]:
    """The lines that a command shows on a terminal of this width."""
    [lines] = each_on_terminal(shell, cells, [arguments])
    return lines


def each_on_terminal(
    shell: Shell, cells: int, commands: Sequence[Sequence[str]]
) -> Iterator[list[str]]:
    """The lines that each command shows on a terminal of this width, all in one process."""
    lines: list[str] = []
    for line in _on_terminal(shell, cells, "-c", RUN_EACH, json.dumps(commands)):
        if line.startswith("exit code "):
            yield lines
            lines = []
        else:
            lines.append(line)
    assert not lines


def _on_terminal(shell: Shell, cells: int, *arguments: str) -> list[str]:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, cells, 0, 0))
    env = {
        name: text
        for name, text in os.environ.items()
        if name != "COLUMNS" and not name.startswith("KAIJU_")
    }
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=shell.folder,
        env={**env, "KAIJU_URL": shell.url, "PYTHONPATH": str(ROOT)},
        stdin=its,
        stdout=its,
        stderr=subprocess.PIPE,
    )
    os.close(its)
    output: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(ours, output))
    reader.start()
    _, errors = process.communicate(timeout=60)
    reader.join(60)
    os.close(ours)
    assert b"Traceback" not in errors, errors.decode()
    return b"".join(output).decode().splitlines()


def _drain(terminal: int, output: list[bytes]) -> None:
    try:
        while data := os.read(terminal, 65_536):
            output.append(data)
    except OSError:
        return  # Linux: the other side is closed


@pytest.fixture
def busy_shell(shell: Shell) -> Shell:
    """A manager that has something in each of its lists."""
    (shell.folder / "tasks").mkdir()
    for id in (LONG, WIDE):
        file = shell.folder / "tasks" / "task.json"
        command = {"method": "do.fail", "params": {"message": ERROR}}
        task = {"id": id, "notify": True, "description": "Send it", "commands": [command]}
        file.write_bytes(msgspec.json.encode(task))
        assert shell.run("task", "create", str(file), "--watch").returncode == 1
    shell.run("task", "create", "--method", "do.echo", "--set", "id=a", "--set", "delay=86400")
    shell.run("task", "suspend", "--where", "id=a", "--reason", ERROR)
    shell.run("pauses", "add", "--method", "x.*", "--reason", ERROR, "--until", "2100-01-01")
    return shell


def test_no_row_of_a_list_is_wider_than_the_terminal(busy_shell: Shell) -> None:
    for cells in WIDTHS:
        shown = each_on_terminal(busy_shell, cells, LISTS)
        for arguments, lines in zip(LISTS, shown, strict=True):
            if arguments == ["task", "show", LONG]:  # fields and tracebacks are not cut
                lines = lines[lines.index("") + 1 :][:2]
            assert len(lines) >= 2
            too_wide = [line for line in lines if width(line) > cells]
            assert not too_wide, (arguments, cells)


def test_failed_tasks_show_their_id_status_and_error_on_every_terminal(
    busy_shell: Shell,
) -> None:
    for cells in (60, 80, 200):
        head, *rows = on_terminal(busy_shell, cells, "task", "list")
        assert {"ID", "STATUS", "EXIT_CODE", "ERROR"} <= set(head.split())
        failed = [row for row in rows if "FAILED" in row]
        assert len(failed) == 2
        for row in failed:
            assert "the printer of the acco" in row
            assert row.split()[0][-1] in "7号"
        # the column begins at the same cell in each row
        starts = {width(row[: row.index("FAILED")]) for row in failed}
        assert starts == {width(head[: head.index("STATUS")])}


def test_a_schedule_shows_its_next_fire_on_a_terminal_of_80_cells(shell: Shell) -> None:
    for name in ("nightly-report-of-the-accounting-department", "b"):
        shell.run(
            "task", "create", "--method", "do.echo", "--set", f"id={name}", "--set", "every=86400"
        )
    shell.run("task", "create", "--method", "do.echo", "--set", "id=done", "--watch")
    head, *rows = on_terminal(shell, 80, "task", "list")
    assert {"ID", "STATUS", "EXIT_CODE", "NEXT_RUN"} <= set(head.split())
    assert sum(" UTC" in row for row in rows) == 2


def test_without_a_terminal_a_list_is_as_wide_as_it_is(busy_shell: Shell) -> None:
    piped = busy_shell.run("task", "list").stdout
    assert "…" not in piped
    for whole in (LONG, WIDE, ERROR, "Send it", "default"):
        assert whole in piped


def test_columns_are_chosen_by_the_names_that_json_has(busy_shell: Shell) -> None:
    chosen = ("task", "list", "--columns", "status, id,error.message,commands.0.method,kws")
    head, *rows = busy_shell.run(*chosen, "--status", "failed").stdout.splitlines()
    assert head.split() == ["STATUS", "ID", "ERROR.MESSAGE", "COMMANDS.0.METHOD", "KWS"]
    assert rows[1].split() == ["FAILED", LONG, *ERROR.split(), "do.fail", "{}"]
    fields = ",".join(types.Task.__struct_fields__)
    head, *rows = busy_shell.run("task", "list", "--columns", fields).stdout.splitlines()
    assert head.split() == [name.upper() for name in types.Task.__struct_fields__]
    assert len(rows) == 3


def test_times_in_lists_are_in_one_form_with_their_zone(busy_shell: Shell) -> None:
    times = {
        ("task", "list", "--columns"): types.Task,
        ("task", "runs", LONG, "--columns"): types.Run,
        ("task", "stages", LONG, "--columns"): types.StageRecord,
        ("executors", "--columns"): types.ExecutorInfo,
        ("notifications", "list", "--columns"): types.Notification,
        ("audit", "--columns"): types.AuditRecord,
        ("pauses", "list", "--columns"): PauseView,
        ("executors", "commands", "--columns"): CommandView,
    }
    for arguments, kind in times.items():
        names = kind.__struct_fields__
        _, *rows = busy_shell.run(*arguments, ",".join(names)).stdout.splitlines()
        assert rows
        for row in rows:
            assert not [word for word in row.split() if _is_unix_time(word)]
            assert (" UTC" in row) == bool(TIMES & set(names))


def _is_unix_time(word: str) -> bool:
    try:
        return 1e9 < float(word) < 1e10
    except ValueError:
        return False


@pytest.mark.parametrize(
    "arguments",
    [one for one in LISTS if one[:2] != ["task", "show"]],
    ids=lambda one: " ".join(one[:2]),
)
def test_every_list_refuses_unknown_columns_and_names_those_it_has(
    invoke: Invoke, arguments: list[str]
) -> None:
    refused = invoke(*arguments, "--columns", "nope")
    assert refused.exit_code == 2
    assert refused.output.startswith("--columns: unknown column 'nope'. Columns are: ")
    both = invoke(*arguments, "--columns", "nope", "--json")
    assert both.exit_code == 2
    assert "--columns cannot be used with --json" in both.output


def test_an_encoding_that_lacks_characters_is_no_failure(
    busy_shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    listed = busy_shell.start("task", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert r"\u8acb\u6c42\u66f8" in listed.stdout
    assert WIDE in [task["id"] for task in busy_shell.json("task", "list")["data"]]
    narrow = on_terminal(busy_shell, 40, "task", "list")
    assert any(LONG[:4] in line for line in narrow)
