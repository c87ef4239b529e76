"""What holds for every command, found by walking their tree: a new one is met here too."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import click
import pytest
from click.testing import CliRunner, Result

from kaiju_tasks.cli import remote, results
from kaiju_tasks.cli.executor import OPERATIONS
from kaiju_tasks.cli.executors import executors
from kaiju_tasks.cli.fail import Failed
from kaiju_tasks.cli.main import cli
from tests.cli import walk
from tests.cli.conftest import Invoke, Shell
from tests.cli.test_methods import COMMANDS
from tests.support.environment import environment
from tests.support.forks import fork
from tests.support.processes import Processes

REFUSAL = {"code": 409, "message": "not now", "data": {"type": "conflict", "status": "IDLE"}}


class Answering(BaseHTTPRequestHandler):
    """A server that answers every call alike. It refuses WebSockets with 404.

    :cvar answer: the body, as JSON; or an HTTP status
    """

    answer: Any = None

    def do_GET(self) -> None:
        self.send_error(self.answer if isinstance(self.answer, int) else 404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if isinstance(self.answer, int):
            self.send_error(self.answer)
            return
        body = json.dumps(self.answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return None


@contextlib.contextmanager
def answering(answer: Any) -> Iterator[str]:
    handler = type("Handler", (Answering,), {"answer": answer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def refusing() -> Iterator[str]:
    """A manager that refuses every call."""
    with answering({"jsonrpc": "2.0", "id": 1, "error": REFUSAL}) as url:
        yield url


def error_of(result: Result) -> dict[str, Any]:
    """The error in the last line of stderr."""
    error: dict[str, Any] = json.loads(result.stderr.splitlines()[-1])["error"]
    assert error.keys() == {"code", "message", "data"}
    assert isinstance(error["code"], int)
    assert error["message"]
    assert error["data"]["type"]
    return error


def ended_well(result: Result) -> bool:
    return result.exception is None or isinstance(result.exception, SystemExit)


def test_every_command_prints_json_except_these(tmp_path: Path) -> None:
    assert {leaf.path for leaf in walk.leaves(tmp_path) if not leaf.has_json} == walk.PRINT_NO_JSON


@pytest.mark.parametrize("option", [["--json"], ["--columns", "id"]])
def test_an_option_before_the_command_that_it_belongs_to_is_refused(
    invoke: Invoke, option: list[str]
) -> None:
    for group in ("executors", "task", "notifications"):
        result = invoke(group, *option, "list")
        assert result.exit_code == 2
        right = f"kaiju-tasks {group} list {' '.join(option)}"
        assert f"Put options after the command: {right}" in result.stderr


TIMES = {"from", "to", "since", "until", "after", "before", "at"}


def test_every_option_that_is_a_time_is_read_as_one(tmp_path: Path) -> None:
    found = {
        (*leaf.path, option.opts[0]): option.metavar
        for leaf in walk.leaves(tmp_path)
        for option in leaf.command.params
        if isinstance(option, click.Option) and TIMES & {name.lstrip("-") for name in option.opts}
    }
    assert ("runs", "list", "--since") in found
    assert {words for words, shown in found.items() if shown != "TIME"} == set()


def test_a_time_in_unix_seconds_is_sent_as_a_number(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def call_within(seconds: float, method: str, /, **params: Any) -> Any:
        sent.append(params)
        raise Failed("it is not sent")

    monkeypatch.setattr(remote, "call_within", call_within)
    for leaf in walk.asking(tmp_path):
        for option in leaf.command.params:
            if isinstance(option, click.Option) and option.metavar == "TIME":
                sent.clear()
                invoke(*leaf.words, option.opts[0], "1764189065.5")
                assert "1764189065.5" in json.dumps(sent), (leaf, option.opts)
                assert '"1764189065.5"' not in json.dumps(sent), (leaf, option.opts)


def test_a_wrong_option_is_exit_code_2_and_json_with_json(invoke: Invoke, tmp_path: Path) -> None:
    for leaf in walk.leaves(tmp_path):
        plain = invoke(*leaf.words, "--no-such-option")
        as_json = invoke(*leaf.path, "--json", *leaf.arguments, "--no-such-option")
        assert (plain.exit_code, as_json.exit_code) == (2, 2), leaf
        assert "No such option" in plain.stderr
        assert error_of(as_json)["code"] == -32602
        assert (plain.stdout, as_json.stdout) == ("", "")


def test_without_a_manager_the_exit_code_is_3_and_the_error_json_with_json(
    invoke: Invoke, tmp_path: Path
) -> None:
    for leaf in walk.asking(tmp_path):
        plain, as_json = invoke(*leaf.words), invoke(*leaf.words, "--json")
        assert (plain.exit_code, as_json.exit_code) == (3, 3), leaf
        error = error_of(as_json)
        assert (error["code"], error["data"]["type"]) == (503, "unavailable")
        assert plain.stderr == f"{error['message']}\n"
        assert (plain.stdout, as_json.stdout) == ("", "")


def test_the_managers_error_is_handed_on_with_its_code_and_data(
    invoke: Invoke, refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIJU_URL", refusing)
    for leaf in walk.asking(tmp_path):
        if leaf.path == ("events",):
            continue  # has a WebSocket
        plain, as_json = invoke(*leaf.words), invoke(*leaf.words, "--json")
        assert (plain.exit_code, plain.stdout, plain.stderr) == (1, "", "not now\n"), leaf
        assert (as_json.exit_code, as_json.stdout, error_of(as_json)) == (1, "", REFUSAL), leaf


RETURNED: dict[tuple[str, ...], str] = {
    ("cron", "preview"): "cron.preview",
    ("executors", "commands"): "executors.commands",
    ("executors", "list"): "executors.list",
    ("pauses", "list"): "pauses.list",
    ("streams",): "streams.list",
    ("mark", "list"): "marks.list",
    ("task", "count"): "tasks.count",
    ("task", "inbox"): "tasks.inbox",
    ("task", "runs"): "tasks.runs",
    ("task", "versions"): "tasks.versions",
    ("token", "list"): "tokens.list",
}
WRONG_RESULTS = [42, None, [], {}, "x", [42], {"data": [42], "count": 1, "offset": 0}]


@pytest.mark.parametrize("result", WRONG_RESULTS, ids=json.dumps)
def test_the_result_of_another_json_service_is_refused_in_one_sentence(
    invoke: Invoke, result: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering({"jsonrpc": "2.0", "id": 1, "result": result}) as url:
        monkeypatch.setenv("KAIJU_URL", url)
        for leaf in walk.asking(tmp_path):
            plain, as_json = invoke(*leaf.words), invoke(*leaf.words, "--json")
            assert ended_well(plain), leaf
            assert ended_well(as_json), leaf
            if plain.exit_code == 0:  # a manager could answer so, too
                assert results.is_result(RETURNED[leaf.path], result)
                continue
            assert (plain.exit_code, as_json.exit_code) == (3, 3), leaf
            assert (plain.stdout, as_json.stdout) == ("", "")
            error = error_of(as_json)
            assert error["data"]["type"] == "not_a_manager"
            assert f"{url}" in error["message"]
            assert "does not answer as a kaiju_tasks manager (" in error["message"]
            assert plain.stderr == f"{error['message']}\n"


@pytest.mark.parametrize("error", [{"code": []}, {"code": "x", "message": 3}, {}], ids=json.dumps)
def test_a_malformed_error_of_another_service_is_no_traceback(
    invoke: Invoke, error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering({"jsonrpc": "2.0", "id": 1, "error": error}) as url:
        monkeypatch.setenv("KAIJU_URL", url)
        for leaf in walk.asking(tmp_path):
            ended = invoke(*leaf.words)
            assert (ended.exit_code, ended.stdout) == (3, ""), leaf
            assert "does not answer as a kaiju_tasks manager (" in ended.stderr


def test_a_manager_behind_a_proxy_that_answers_503_is_not_available_now(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(503) as url:
        monkeypatch.setenv("KAIJU_URL", url)
        for leaf in walk.asking(tmp_path):
            plain, as_json = invoke(*leaf.words), invoke(*leaf.words, "--json")
            assert (plain.exit_code, as_json.exit_code) == (3, 3), leaf
            assert (plain.stdout, as_json.stdout) == ("", "")
            error = error_of(as_json)
            assert (error["code"], error["data"]["type"]) == (503, "unavailable")
            assert plain.stderr == f"{error['message']}\n"
            assert plain.stderr[0].isupper()
            if leaf.path != ("events",):
                assert "is not available now (HTTP 503" in plain.stderr


def test_a_manager_without_its_database_is_exit_code_3(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"code": 503, "message": "the database is away", "data": {"type": "unavailable"}}
    with answering({"jsonrpc": "2.0", "id": 1, "error": away}) as url:
        monkeypatch.setenv("KAIJU_URL", url)
        for leaf in walk.asking(tmp_path):
            plain, as_json = invoke(*leaf.words), invoke(*leaf.words, "--json")
            assert (plain.exit_code, as_json.exit_code) == (3, 3), leaf
            if leaf.path != ("events",):  # has a WebSocket
                assert "the database is away" in plain.stderr.lower(), leaf
                assert error_of(as_json)["code"] == 503


def test_the_shapes_of_results_are_those_of_the_api() -> None:
    document = json.loads(CliRunner().invoke(cli, ["openrpc"]).stdout)
    schemas = document["components"]["schemas"]
    returned = {}
    for method in document["methods"]:
        schema = method["result"]["schema"]
        while "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        returned[method["name"]] = schema
    assert results.FIELDS.keys().isdisjoint(results.LISTS | results.NUMBERS)
    called = COMMANDS.keys() | {"tasks.m_explain"}  # by `task list --why`
    assert results.FIELDS.keys() | results.LISTS | results.NUMBERS == called
    for name, fields in results.FIELDS.items():
        assert returned[name]["type"] == "object", name
        assert set(fields) <= set(returned[name]["required"]), name
    for name in results.LISTS | results.NUMBERS:
        assert returned[name]["type"] == "array", name


async def test_with_a_manager_the_exit_code_is_the_same_with_and_without_json(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIJU_URL", shell.url)
    codes = {}
    for leaf in walk.asking(shell.folder):
        if leaf.path == ("events",):
            continue  # goes on until Ctrl-C
        # In a thread: some commands run a loop of their own.
        plain = await asyncio.to_thread(CliRunner().invoke, cli, leaf.words)
        as_json = await asyncio.to_thread(CliRunner().invoke, cli, [*leaf.words, "--json"])
        assert ended_well(plain), leaf
        assert ended_well(as_json), leaf
        assert plain.exit_code == as_json.exit_code, leaf
        if as_json.exit_code == 0:
            json.loads(as_json.stdout)
        else:
            assert (plain.stdout, as_json.stdout) == ("", "")
            assert plain.stderr == f"{error_of(as_json)['message']}\n"
        codes[leaf.path] = as_json.exit_code
    assert codes["task", "delete"] == codes["notifications", "delete"] == 1
    assert codes["task", "list"] == codes["executors", "list"] == 0


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["plain", "json"])
async def test_ctrl_c_ends_every_command_with_130_and_a_sentence(
    processes: Processes, tmp_path: Path, more: tuple[str, ...]
) -> None:
    few = asyncio.Semaphore(4)

    async def interrupt(leaf: walk.Leaf) -> None:
        asked = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            asked.set()
            await reader.read()
            writer.close()

        async with few, await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            process = processes.kaiju(*leaf.words, *more, env={"KAIJU_URL": url})
            await asyncio.wait_for(asked.wait(), 30)
            process.send(signal.SIGINT)
            assert await process.ended(30) == 130, leaf
            [line] = process.log.splitlines()
            if more:
                error = json.loads(line)["error"]
                assert (error["code"], error["data"]["type"]) == (499, "interrupted")
                line = error["message"]
            assert line.startswith(("Interrupted", "Stopped")), leaf
            assert line.endswith("."), leaf

    await asyncio.gather(*(interrupt(leaf) for leaf in walk.asking(tmp_path)))


def kaiju(*words: str, stdout: BinaryIO, folder: Path, url: str = "") -> tuple[int, str]:
    """Run a command to its end.

    :returns: its exit code and what it wrote to stderr
    """
    with tempfile.TemporaryFile() as errors:
        code = fork(words, folder, {**environment(), "KAIJU_URL": url}, stdout, errors).wait()
        errors.seek(0)
        return code, errors.read().decode()


@pytest.fixture
def gone() -> Iterator[BinaryIO]:
    """A pipe whose reader has gone."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as pipe:
        yield pipe


FULL = (74, "The output cannot be written: No space left on device.\n")


def test_a_full_disk_is_exit_code_74_and_a_sentence_for_every_command(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        for leaf in walk.leaves(tmp_path):
            assert kaiju(*leaf.path, "--help", stdout=full, folder=tmp_path) == FULL, leaf


LOCAL = [
    ("openrpc",),
    ("--version",),
    ("db", "status"),
    ("db", "status", "--json"),
    ("run", "task.json", "--quiet"),
    ("run", "task.json", "--quiet", "--json"),
    ("serve", "--port", "0", "--log-level", "error"),
]


@pytest.mark.parametrize("words", LOCAL, ids=" ".join)
def test_a_result_that_cannot_be_written_ends_the_command(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    walk.leaves(tmp_path)  # writes task.json
    with open("/dev/full", "wb") as full:
        code, said = kaiju(*words, stdout=full, folder=tmp_path)
    if "--json" in words:
        said = json.loads(said)["error"]["message"] + "\n"
    assert (code, said) == FULL


@pytest.mark.parametrize("words", LOCAL, ids=" ".join)
def test_a_reader_that_has_gone_ends_the_command_quietly(
    words: tuple[str, ...], tmp_path: Path, gone: BinaryIO
) -> None:
    walk.leaves(tmp_path)
    assert kaiju(*words, stdout=gone, folder=tmp_path) == (141, "")


def test_a_closed_standard_output_is_said(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "kaiju_tasks.cli", "openrpc"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.close(1),
        timeout=60,
        check=False,
    )
    said = "The output cannot be written: Bad file descriptor.\n"
    assert (ended.returncode, ended.stderr) == (74, said)


def test_the_answer_of_a_manager_that_cannot_be_written_ends_the_command(
    shell: Shell,
) -> None:
    with open("/dev/full", "wb") as full:
        for words in (("task", "list"), ("task", "list", "--json"), ("executors",)):
            code, said = kaiju(*words, stdout=full, folder=shell.folder, url=shell.url)
            assert (code, "No space left on device" in said) == (74, True)
            assert len(said.splitlines()) == 1


async def test_events_end_when_their_reader_has_gone(shell: Shell) -> None:
    read_end, write_end = os.pipe()
    echo = ("task", "create", "--method", "do.echo", "--watch")

    def read_one() -> None:
        os.set_blocking(read_end, False)
        while True:
            shell.run(*echo)
            try:
                assert os.read(read_end, 65_536)
                return
            except BlockingIOError:
                pass  # it has not subscribed yet

    with open(write_end, "wb") as pipe:
        reading = asyncio.create_task(
            asyncio.to_thread(kaiju, "events", stdout=pipe, folder=shell.folder, url=shell.url)
        )
        await asyncio.to_thread(read_one)
        os.close(read_end)
        await asyncio.to_thread(shell.run, *echo)
        assert await reading == (141, "")


def test_the_operations_of_executors_are_known_to_executor() -> None:
    assert set(OPERATIONS) == set(executors.commands)
