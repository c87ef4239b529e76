"""Wrong arguments: a sentence and an exit code, never a traceback."""

import json
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["task", "nope"], "No such command 'nope'"),
        (["task", "show"], "Missing argument 'ID'"),
        (["task", "list", "--limit", "0"], "--limit"),
        (["task", "list", "--where", "status"], "--where must have the form COLUMN=JSON"),
        (["task", "create"], "Give either a FILE"),
        (["task", "create", "x.json", "--method", "do.echo"], "not both"),
        (["task", "create", "nowhere.json"], "nowhere.json cannot be read"),
        (
            ["task", "create", "--method", "x", "--param", "y"],
            "--param must have the form NAME=JSON",
        ),
        (["task", "create", "--method", "x", "--param", "y=NaN"], "NaN is not a JSON number"),
        (["task", "create", "-", "--param", "y=1"], "--param needs --method"),
        (["task", "create", "--method", "x", "--on-conflict", "z"], "--on-conflict"),
        (["task", "create", "."], ". cannot be read"),
        (["cron", "preview", "* * * * *", "-n", "0"], "-n"),
        (["run", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["task", "list", "--status", "finishd"], "is not a status. Statuses are: idle, queued"),
        (["executor"], "Give an Executor as MODULE:ATTR"),
        (
            ["executor", "kaiju_tasks.samples:executor", "--app-name", "x"],
            "--app-name needs --forward",
        ),
        (
            ["executor", "--forward", "host/rpc"],
            "--forward must have the form http://host:port/rpc",
        ),
        (
            ["executor", "--forward", "http://h:p/"],
            "--forward must have the form http://host:port/rpc",
        ),
        (["executor", "--forward", "http://h/", "--app-name", "manager"], "is reserved"),
        (["executor", "--forward", "http://h/", "--app-name", "a\nb"], "control characters"),
        (["executor", "--forward", "http://h/", "--health-port", "x"], "--health-port"),
        (
            ["executor", "--forward", "http://h/", "kaiju_tasks.samples:executor"],
            "Two executors serve the stream `default`",
        ),
        (
            ["executor", "x:y", "--manager", "127.0.0.1:8077"],
            "--manager must have the form http://host:port",
        ),
        (["executor", "x:y", "--manager", "127.0.0.1:1"], "did you mean 'http://127.0.0.1:1'?\n"),
        (
            ["executor", "x:y", "--manager", "http://h/", "--manager", ""],
            "--manager must have the form",
        ),
        (["executor", "nowhere:x"], "no module `nowhere`"),
        (["executor", "kaiju_tasks.samples"], "must have the form module:attribute"),
        (["executor", "kaiju_tasks.samples:nope"], "has no `nope`; it has: executor"),
        (["executor", "kaiju_tasks.samples:executor", "--concurrency", "0"], "--concurrency"),
        (["db", "status", "--db", "foo"], "cannot be used"),
        (["db", "migrate", "--db", "127.0.0.1:5432/tasks"], "cannot be used"),
        (["db", "status", "--db", "postgresql://h:port/tasks"], "URL is malformed"),
        (["serve", "--db", "postgresql://h:port/tasks"], "URL is malformed"),
        (["serve", "--db", "mysql://h/tasks"], "cannot be used"),
        (["bench", "--db", "mysql://h/tasks"], "bench needs a database"),
        (["bench", "--db", "postgresql://h:port/tasks"], "URL is malformed"),
        (["bench", "--db", "sqlite:///"], "cannot be used"),
        (["serve", "--ping-interval", "99"], "ping_interval must be"),
    ],
)
def test_a_wrong_argument_is_exit_code_2_and_a_sentence(
    invoke: Invoke, arguments: list[str], said: str
) -> None:
    result = invoke(*arguments, stdin="{}")
    assert result.exit_code == 2
    assert said in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"", "is not JSON"),
        ("a.json", b'{"a": NaN}', "is not JSON"),
        ("a.json", b"\xff", "must be UTF-8"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.yaml", b"a: [", "neither JSON nor YAML"),
        ("a.yaml", b"just words", "must hold a task"),
        ("a.yaml", b"x: 1\n y: 2", "line 2, column 3"),
        ("a.yaml", b"cron: * * * * *", "in quotes"),
        ("a.yaml", b"x: !!binary aGk=", "JSON cannot represent"),
        ("a.yaml", b"x: .nan", "JSON cannot represent"),
        ("a.yaml", b"x: !!python/object/apply:os.system ['true']", "neither JSON nor YAML"),
        ("a.yaml", b"? [1, 2]\n: 3", "JSON"),
    ],
)
def test_a_wrong_file_is_named(
    invoke: Invoke, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    for command in (["task", "create"], ["task", "validate"], ["run"]):
        result = invoke(*command, str(file))
        assert result.exit_code == 2
        assert said in result.output
        assert name in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["task", "list"],
        ["task", "show", "x"],
        ["task", "watch", "x"],
        ["task", "create", "--method", "do.echo"],
        ["task", "message", "x", "1"],
        ["executors"],
        ["executors", "drain", "x"],
        ["cron", "preview", "* * * * *"],
    ],
)
def test_no_manager_is_exit_code_3_and_says_how_to_start_one(
    invoke: Invoke, arguments: list[str]
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 3
    assert "kaiju-tasks serve" in result.output


@pytest.mark.parametrize(
    "url", ["nope", "ftp://x", "http://", "http://x:y", "http://[::1", "h:8077"]
)
def test_a_wrong_url_is_exit_code_2(
    invoke: Invoke, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIJU_URL", url)
    for command in (["task", "list"], ["events"], ["executor", "kaiju_tasks.samples:executor"]):
        result = invoke(*command)
        assert result.exit_code == 2
        assert "KAIJU_URL must have the form http://host:port" in result.output


def test_a_token_that_is_none_is_exit_code_2(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIJU_TOKEN", "a\nb")
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        monkeypatch.setenv("KAIJU_URL", f"http://127.0.0.1:{somebody.getsockname()[1]}")
        for command in (["task", "list"], ["events"], ["executor", "kaiju_tasks.samples:executor"]):
            result = invoke(*command)
            assert result.exit_code == 2
            assert "KAIJU_TOKEN must be printable ASCII" in result.output


def test_openrpc_asks_no_manager(invoke: Invoke) -> None:
    result = invoke("openrpc")
    assert result.exit_code == 0
    assert json.loads(result.output)["openrpc"] == "1.3.2"


def test_help_names_every_command(invoke: Invoke) -> None:
    result = invoke("--help")
    for name in ("serve", "executor", "run", "task", "executors", "cron", "db", "openrpc"):
        assert f"  {name} " in result.output


def test_the_version_is_told(invoke: Invoke) -> None:
    assert invoke("--version").output == "kaiju-tasks, version 0.1.0\n"
