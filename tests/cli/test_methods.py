"""Every method of the API has a command, or a reason why it has none."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from kaiju_tasks.api import method_registry
from kaiju_tasks.cli.main import cli
from tests.cli.conftest import Shell

PROTOCOL = "executors call it, not people (docs/protocol.md)"
COMMANDS = {
    "tasks.create": "task create --method do.echo",
    "tasks.get": "task show t",
    "tasks.list": "task list",
    "tasks.count": "task count",
    "tasks.update": "task update t enabled=false",
    "tasks.delete": "task delete t",
    "tasks.m_delete": "task delete t u",
    "tasks.reset": "task reset t",
    "tasks.restart_from": "task restart-from t 0",
    "tasks.message": "task message t",
    "tasks.suspend": "task suspend t",
    "tasks.resume": "task resume t",
    "tasks.cancel": "task cancel t",
    "tasks.run_now": "task run-now t",
    "tasks.wait": "task watch t",
    "tasks.runs": "task runs t",
    "tasks.stages": "task stages t",
    "tasks.explain": "task explain t",
    "tasks.inbox": "task inbox t",
    "tasks.family": "task family t",
    "tasks.versions": "task versions t",
    "tasks.validate": "task validate -",
    "tasks.delete_old_tasks": "task delete-old --days 30",
    "tasks.m_reset": "task reset --app a",
    "tasks.m_cancel": "task cancel --status idle",
    "tasks.m_suspend": "task suspend --group g",
    "tasks.m_resume": "task resume --where priority=1",
    "runs.list": "runs",
    "marks.add": "mark add v2",
    "marks.list": "mark",
    "schedules.upcoming": "cron upcoming",
    "streams.list": "streams",
    "stats.series": "stats",
    "runs.get": "runs show j",
    "logs.list": "logs t",
    "tasks.m_run_now": "task run-now --app a",
    "tasks.m_restart_from": "task restart-from --failed --app a",
    "tasks.m_message": "task message --app a true",
    "bulk.list": "bulk",
    "bulk.get": "bulk show b",
    "bulk.stop": "bulk stop b",
    "notifications.list": "notifications list",
    "notifications.get": "notifications show n",
    "notifications.update": "notifications dismiss n",
    "notifications.delete": "notifications delete n",
    "executors.list": "executors",
    "executors.get": "executors show e",
    "executors.suspend": "executors suspend e",
    "executors.resume": "executors resume e",
    "executors.drain": "executors drain e",
    "executors.commands": "executors commands",
    "pauses.add": "pauses add --reason r --app a",
    "pauses.list": "pauses list",
    "pauses.remove": "pauses remove p",
    "cron.preview": "cron preview @daily",
    "audit.list": "audit",
    "tokens.create": "token create ann --kind user",
    "tokens.list": "token list",
    "tokens.rotate": "token rotate t",
    "tokens.revoke": "token revoke t",
    "principals.update": "token quota ann --pauses 5",
}
WITHOUT = {
    "tasks.m_create": "a file holds one task: a list in it is its commands",
    "tasks.m_get": "`task list --where 'id=[…]'` shows several",
    "tasks.m_update": "`task update` takes one id, as the fields follow it",
    "tasks.m_explain": "`task list --why`, after `tasks.list`: tests/cli/test_operations.py",
    "tasks.exists": "`task show` ends with 1 when there is none",
    "tasks.m_exists": "`task count --where 'id=[…]'` counts them",
    "tasks.write_message": "another name of tasks.message",
    "events.subscribe": "`events`, over a WebSocket: tests/cli/test_events.py",
    "events.unsubscribe": "`events` ends with its connection",
    "system.info": "/metrics and the manager's page show it",
    "system.whoami": "`token list` shows all tokens",
    "principals.list": "`token list` shows the principals of all tokens",
    "rpc.discover": "`openrpc` prints it without a manager",
    "manager.call": PROTOCOL,
    "manager.connect": PROTOCOL,
    "manager.declare": PROTOCOL,
    "manager.ping": PROTOCOL,
    "manager.suspend_executor": PROTOCOL,
    "manager.write_stage": PROTOCOL,
    "manager.write_logs": PROTOCOL,
    "manager.list_active_executors": "`executors`",
    "manager.execute_stage": PROTOCOL,
    "manager.wait_for_timer": PROTOCOL,
    "manager.wait_for_message": PROTOCOL,
}
TASK = {
    "id": "t",
    "job_id": "j",
    "status": "IDLE",
    "status_reason": None,
    "stage": 0,
    "stages": 1,
    "commands": [{"method": "a"}],
    "exit_code": None,
    "error": None,
}


class Recorder(ThreadingHTTPServer):
    """Notes which methods are called. Gives a task, and otherwise answers with an error.

    :ivar methods: those called, in order
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.methods: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Recorder)
        self.server.methods.append(request["method"])
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        if request["method"] == "tasks.get":
            answer["result"] = TASK
        else:
            answer["error"] = {"code": 404, "message": "recorded", "data": {"type": "not_found"}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A recorder at KAIJU_URL."""
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("KAIJU_URL", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def test_every_method_has_a_command_or_a_reason_to_have_none() -> None:
    assert sorted([*COMMANDS, *WITHOUT]) == sorted(method.name for method in method_registry())


@pytest.mark.parametrize(("method", "command"), COMMANDS.items(), ids=COMMANDS.keys())
def test_the_command_of_a_method_calls_it(recorder: Recorder, method: str, command: str) -> None:
    task = json.dumps({"commands": [{"method": "a"}]})
    CliRunner().invoke(cli, command.split(), input=task)
    assert recorder.methods[-1] == method


def test_tasks_whose_runs_ended_long_ago_are_deleted(shell: Shell) -> None:
    for name in ("a", "b"):
        shell.run("task", "create", "--method", "do.echo", "--set", f"id={name}", "--watch")
    shell.run("task", "create", "--method", "do.echo", "--set", "id=c", "--set", "delay=600")
    assert shell.run("task", "delete-old").stdout == "deleted 0 tasks\n"
    assert shell.run("task", "delete-old", "--days", "0").stdout == "deleted 2 tasks\n"
    assert [task["id"] for task in shell.json("task", "list")["data"]] == ["c"]
    assert shell.json("task", "delete-old", "--days", "0.5") == {"deleted": 0}


def test_several_tasks_are_deleted_at_once(shell: Shell) -> None:
    for name in ("a", "b", "c"):
        shell.run("task", "create", "--method", "do.echo", "--set", f"id={name}")
    assert shell.run("task", "delete", "a", "b", "a").stdout == "deleted 2 tasks\n"
    some = shell.run("task", "delete", "c", "d")
    assert (some.returncode, some.stdout) == (1, "deleted\n")
    assert some.stderr == "there is no task 'd'\n"
    shell.run("task", "create", "--method", "do.echo", "--set", "id=e")
    for one, deleted in (("e", 1), ("e", 0)):
        part = shell.run("task", "delete", "x", one, "d", "--json")
        unknown = ["x", "d"] if deleted else ["x", "e", "d"]
        assert part.returncode == 1
        assert json.loads(part.stdout) == {"deleted": deleted, "not_found": unknown}
        assert json.loads(part.stderr)["error"]["code"] == 404
    for single in (("task", "delete", "d"), ("notifications", "delete", "d")):
        none = shell.run(*single, "--json")
        assert (none.returncode, none.stdout) == (1, "")
        assert json.loads(none.stderr)["error"]["code"] == 404
