"""Wrong arguments: a sentence and an exit code, never a traceback."""

import json
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.cli.test_every_command import answering


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["task", "nope"], "No such command 'nope'"),
        (["task", "show"], "Missing argument 'ID'"),
        (["task", "list", "--limit", "0"], "--limit"),
        (["task", "list", "--where", "status"], "--where must have the form COLUMN=JSON"),
        (["task", "create"], "Give a FILE with a task, or one command with --method."),
        (["task", "update", "x"], "Give a field to update"),
        (
            ["task", "list", "--where", "status==failed"],
            "write = instead of ==, as in 'status=failed'",
        ),
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
        (["task", "list", "--status", "finishd"], "is not a status. Use one of: idle, queued"),
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
            ["executor", "--forward", "http://h/", "--forward-rest", "http://h/"],
            "--forward or --forward-rest, not both",
        ),
        (["executor", "--forward-rest", "h/v1"], "must have the form http://host:port/base"),
        (
            ["executor", "kaiju_tasks.samples:executor", "--header", "A=b"],
            "--header needs --forward",
        ),
        (["executor", "--forward", "http://h/", "--header", "A"], "--header must have the form"),
        (
            ["executor", "kaiju_tasks.samples:executor", "--callback", "http://h:1"],
            "--callback needs --forward",
        ),
        (
            ["executor", "--forward", "http://h/", "--callback", "https://h"],
            "--callback must have the form http://host:port",
        ),
        (
            ["executor", "--forward", "http://h/", "--header", "Callback=x"],
            "the header Callback is set by the executor",
        ),
        (
            ["executor", "--forward", "http://h/", "--header", "A=b", "--header", "a=c"],
            "--header a is given twice",
        ),
        (
            ["executor", "--forward", "http://h/", "--header", "Authorization=Bearer x"],
            "do not write a credential into the command",
        ),
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
    "url", ["nope", "ftp://x", "http://", "http://x:y", "http://[::1", "h:8077", "http://h:0"]
)
def test_a_wrong_url_is_exit_code_2(
    invoke: Invoke, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIJU_URL", url)
    for command in (["task", "list"], ["events"], ["executor", "kaiju_tasks.samples:executor"]):
        result = invoke(*command)
        assert result.exit_code == 2
        assert "KAIJU_URL must have the form http://host:port" in result.output


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8077", "; did you mean 'http://127.0.0.1:8077'?"),
        ("http:/127.0.0.1:8077", "; did you mean 'http://127.0.0.1:8077'?"),
        ("http:127.0.0.1:8077", "; did you mean 'http://127.0.0.1:8077'?"),
        ("https//tasks.example", "; did you mean 'https://tasks.example'?"),
        ("http:///tasks.example/rpc", "; did you mean 'http://tasks.example/rpc'?"),
        ("http://127.0.0.1:99999", "; the port must be between 1 and 65535."),
        ("http://[::1]:0/rpc", "; the port must be between 1 and 65535."),
        ("ftp://tasks.example", "not 'ftp://tasks.example'."),
        ("http://tasks.example:http", "not 'http://tasks.example:http'."),
    ],
)
def test_what_is_wrong_in_a_url_is_said(
    invoke: Invoke, url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIJU_URL", url)
    result = invoke("task", "list")
    assert result.exit_code == 2
    assert result.output.endswith(f"{said}\n")


@pytest.mark.parametrize("command", [("task", "list"), ("events",)])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9", "connection refused"),
        ("http://nowhere.invalid", "unknown host"),
        ("https://{plain}", "this port speaks http, not https"),
    ],
)
def test_every_command_says_in_the_same_words_why_no_manager_answers(
    invoke: Invoke, command: tuple[str, ...], url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(404) as plain:
        url = url.replace("{plain}", plain.removeprefix("http://"))
        monkeypatch.setenv("KAIJU_URL", url)
        result = invoke(*command)
    assert (result.exit_code, result.output) == (
        3,
        f"No manager answers at {url} ({said}). Start one with `kaiju-tasks serve`, or set "
        "KAIJU_URL to the URL of a running manager.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tasks", "list"], "No such command 'tasks'. Did you mean 'task'?"),
        (["notification"], "Did you mean 'notifications'?"),
        (["create", "x.yaml"], "No such command 'create'. Did you mean one of 'task create', "),
        (["preview", "* * * * *"], "Did you mean 'cron preview'?"),
        (["task", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["task", "nope"], "No such command 'nope'.\n"),
        (["cron", "0 9 * * 1-5"], "use `kaiju-tasks cron preview '0 9 * * 1-5'`"),
        (["cron", "0", "9", "a", "b"], "use `kaiju-tasks cron preview '0 9 * * 1-5'`"),
        (["cron", "prevew"], "Did you mean 'preview'?"),
        (["--json", "task", "show", "x"], "after the command: kaiju-tasks task show x --json"),
        (["task", "--json", "show", "x"], "after the command: kaiju-tasks task show x --json"),
        (["--url", "http://h", "task", "list"], "from the environment variable KAIJU_URL"),
        (["task", "list", "--url=http://h"], "from the environment variable KAIJU_URL"),
        (["executor", "list"], "Did you mean `kaiju-tasks executors list`?"),
        (["executor", "drain", "x"], "Did you mean `kaiju-tasks executors drain`?"),
        (["serve", "--url", "http://h"], "No such option '--url'.\n"),
        (["task", "create", "--method", "x", "a=1"], "with --param: --param a=1"),
        (["task", "list", "--token", "x"], "from the environment variable KAIJU_TOKEN"),
        (["task", "list", "--statis", "x"], "No such option '--statis'. Did you mean '--status'?"),
    ],
)
def test_a_word_that_is_no_command_or_option_gets_a_hint(
    invoke: Invoke, arguments: list[str], said: str
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    message = json.loads(result.stderr)["error"]["message"] if "--json" in arguments else ""
    assert said in (message or result.stderr)


@pytest.mark.parametrize("group", ["task", "executors", "notifications", "pauses"])
def test_a_group_without_a_command_lists(
    invoke: Invoke, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = {"data": [], "count": 0, "offset": 0}
    result = page if group in ("task", "notifications") else []
    with answering({"jsonrpc": "2.0", "id": 1, "result": result}) as url:
        monkeypatch.setenv("KAIJU_URL", url)
        for options in ([], ["--json"], ["--columns", "id"]):
            bare, listed = invoke(group, *options), invoke(group, "list", *options)
            assert (bare.exit_code, bare.output) == (0, listed.output)
    assert "Usage: kaiju-tasks" in invoke(group, "--help").output


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


@pytest.mark.parametrize(
    "command", [["task", "list"], ["events"], ["executor", "kaiju_tasks.samples:executor"]]
)
def test_a_token_that_others_could_read_is_exit_code_2(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("KAIJU_TOKEN", "secret")
    monkeypatch.setenv("KAIJU_URL", "http://192.0.2.1:8077")
    result = invoke(*command)
    assert result.exit_code == 2
    assert "KAIJU_URL: a token is not sent unencrypted" in result.output


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
