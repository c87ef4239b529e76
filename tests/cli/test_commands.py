"""The commands against a real manager."""

import json
import subprocess
import sys
from functools import cache
from itertools import pairwise

import msgspec
import pytest

from kaiju_tasks import NewTask
from kaiju_tasks.cli.task import DEFAULTS
from tests.cli.conftest import Shell
from tests.support.processes import ROOT


def test_a_task_from_its_creation_to_its_deletion(shell: Shell) -> None:
    created = shell.json(
        "task", "create", "--method", "do.echo", "--param", 'data={"a":[1]}', "--set", "id=first"
    )
    assert created["id"] == "first"
    watched = shell.run("task", "watch", "first")
    assert watched.returncode == 0
    assert "first: FINISHED, stage 1 of 1" in watched.stdout
    assert shell.json("task", "show", "first")["result"] == [{"a": [1]}]
    shown = shell.run("task", "show", "first").stdout
    assert '{"a": [1]}' in shown
    assert "exit_code" in shown
    assert [run["status"] for run in shell.json("task", "runs", "first")] == ["FINISHED"]
    assert [one["outcome"] for one in shell.json("task", "stages", "first")] == ["FINISHED"]
    assert "do.echo" in shell.run("task", "stages", "first").stdout
    assert "FINISHED" in shell.run("task", "runs", "first").stdout
    assert shell.run("task", "delete", "first").stdout == "deleted\n"
    gone = shell.run("task", "delete", "first")
    assert (gone.returncode, gone.stderr) == (1, "there is no task 'first'\n")


def test_create_prints_the_state_that_the_manager_has_answered(shell: Shell) -> None:
    watched = shell.run("task", "create", "--method", "do.echo", "--set", "id=a", "--watch")
    first, *_, last = watched.stdout.splitlines()
    assert first in ("a: QUEUED, stage 1 of 1", "a: EXECUTED, stage 1 of 1")
    assert last == "a: FINISHED, stage 1 of 1"
    later = ("task", "create", "--method", "do.echo", "--app", "nobody", "--set", "id=b")
    shell.run(*later, "--set", "max_queue_time=0.1")
    ended = shell.run("task", "watch", "b")
    assert ended.stdout.splitlines()[-1] == "b: FAILED, stage 1 of 1"
    again = shell.run(
        "task", "create", "--method", "do.echo", "--set", "id=a", "--on-conflict", "ignore",
        "--watch", "--json",
    )  # fmt: skip
    assert json.loads(again.stdout) == shell.json("task", "show", "a")


def test_explain_names_commands_and_ends_its_sentences_once(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.sleep", "--param", "seconds=60", "--set", "id=it's")
    shell.run("task", "suspend", "it's")
    said = shell.run("task", "explain", "it's").stdout
    assert said.endswith("; `kaiju-tasks task resume 'it'\"'\"'s'` resumes it.\n")
    assert "tasks.resume resumes it" in shell.json("task", "explain", "it's")["message"]
    for message in ("no luck", "did you mean `x`?", "stop.", "tasks.resume"):
        fail = ("task", "create", "--method", "do.fail", "--param", f"message={message}")
        shell.run(*fail, "--set", f"id={message}", "--watch")
        end = message if message.endswith(("?", ".")) else f"{message}."
        assert shell.run("task", "explain", message).stdout.endswith(f" UTC: {end}\n")
        assert shell.json("task", "explain", message)["message"].endswith(f" UTC: {end}")


def test_an_empty_list_is_said_to_be_empty(shell: Shell) -> None:
    for words, noun in (
        (("task", "list"), "tasks"),
        (("notifications",), "notifications"),
        (("pauses",), "pauses"),
        (("audit",), "audit records"),
        (("executors", "commands", "--app", "nope"), "commands"),
    ):
        empty = shell.run(*words)
        assert (empty.returncode, empty.stderr) == (0, f"no {noun}\n")
        assert len(empty.stdout.splitlines()) == 1
        assert shell.run(*words, "--json").stderr == ""


def test_update_accepts_fields_as_create_does(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.echo", "--set", "id=a", "--set", "delay=60")
    update = (
        "task",
        "update",
        "a",
        "--set",
        "priority=1",
        "description=b c",
        "--set",
        "notify=true",
    )
    assert shell.run(*update).returncode == 0
    task = shell.json("task", "show", "a")
    assert (task["priority"], task["description"], task["notify"]) == (1, "b c", True)
    twice = shell.run("task", "update", "a", "--set", "priority=1", "priority=2")
    assert (twice.returncode, twice.stderr) == (
        2, "FIELD priority is given twice. Give it once.\n"
    )  # fmt: skip


def test_a_wrong_field_is_named_once_by_create(shell: Shell) -> None:
    for field, said in (
        ("cron=61 * * * *", "`data.cron` is not valid: its minute field '61' cannot be parsed"),
        ("timezone=Europe/Berln", "`data.timezone` must be an IANA name such as"),
        ("next_run=soon", "`data.next_run` must be UNIX seconds or ISO-8601"),
        ("priority=high", "`data.priority` must be an integer"),
    ):
        refused = shell.run("task", "create", "--method", "do.echo", "--set", field)
        assert (refused.returncode, refused.stderr[: len(said)]) == (1, said)


def test_a_stage_is_refused_in_the_words_of_the_warning(shell: Shell) -> None:
    wrong = ("task", "create", "--method", "do.sleep", "--param", "seconds=x", "--watch")
    warning, error = shell.run(*wrong).stderr.splitlines()
    assert "`commands.0.params.seconds` must be a number" in warning
    assert error.startswith("invalid_params: `seconds` must be a number")
    assert warning.endswith(", not text")
    assert error.endswith(", not text")


def test_watch_ends_with_the_exit_code_of_the_task(shell: Shell) -> None:
    failed = shell.run("task", "create", "--method", "do.fail", "--watch")
    assert failed.returncode == 1
    assert "execution_error: failed on request" in failed.stderr
    sleep = ("--method", "do.sleep", "--param", "seconds=60", "--set", "id=s")
    shell.run("task", "create", *sleep)
    assert "FAILED" in shell.run("task", "cancel", "s").stdout
    assert shell.run("task", "watch", "s").returncode == 130


def test_lists_are_tables_and_json(shell: Shell) -> None:
    for name in ("a", "b"):
        shell.run("task", "create", "--method", "do.echo", "--set", f'id="{name}"')
        shell.run("task", "watch", name)
    table = shell.run("task", "list", "--sort", "id").stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "APP_NAME", "STATUS"]
    assert [line.split()[0] for line in table[1:]] == ["a", "b"]
    assert shell.json("task", "list", "--status", "failed")["count"] == 0
    assert shell.json("task", "list", "--where", "id=b")["count"] == 1
    page = shell.run("task", "list", "--limit", "1")
    assert "1 of 2" in page.stderr
    wrong = shell.run("task", "list", "--where", "nope=1")
    assert wrong.returncode == 2
    assert "nope" in wrong.stderr


def test_failed_tasks_are_listed_with_what_failed_where_and_why(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.echo", "--set", "id=ok", "--watch")
    for name in ("a", "b"):
        fail = ("task", "create", "--method", "do.fail", "--param", f"message=no {name}")
        shell.run(*fail, "--set", f"id={name}", "--watch")
    header, *rows = shell.run("task", "list", "--failed").stdout.splitlines()
    assert header.split() == ["ID", "SINCE", "APP_NAME", "STAGE", "METHOD", "ERROR"]
    assert [row.split()[0] for row in rows] == ["b", "a"]
    assert rows[0].endswith("do.fail  no b")
    where = ("--where", "error.type=execution_error", "--where", "method=do.fail")
    assert shell.json("task", "list", "--failed", *where)["count"] == 2
    assert shell.json("task", "count", "--where", "error.type=abort") == {"count": 0}
    both = shell.run("task", "list", "--failed", "--status", "idle")
    assert (both.returncode, both.stderr) == (2, "--failed cannot be used with --status.\n")


def test_a_list_has_no_column_in_which_nothing_stands(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.echo", "--set", "id=a", "--watch")
    header, row = shell.run("task", "list").stdout.splitlines()
    assert header.split() == ["ID", "APP_NAME", "STATUS", "STAGE", "EXIT_CODE"]
    assert row.split()[0] == "a"


def test_a_failure_is_shown_in_a_line_and_its_traceback_below(shell: Shell) -> None:
    fail = ("task", "create", "--method", "do.fail", "--param", "message=no luck")
    assert shell.run(*fail, "--set", "id=f", "--watch").stderr == "execution_error: no luck\n"
    lines = shell.run("task", "show", "f").stdout.splitlines()
    assert "execution_error: no luck" in [line.partition("  ")[2].strip() for line in lines]
    assert "Traceback (most recent call last):" in lines


def test_the_history_names_the_executor_of_each_attempt(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.fail", "--set", "id=f", "--set", "max_retries=1")
    shell.run("task", "watch", "f")
    executor = shell.json("executors")[0]["id"]
    header, *rows = shell.run("task", "stages", "f").stdout.splitlines()
    assert header.split()[4:] == ["STARTED_AT", "SECONDS", "EXECUTOR_ID", "ERROR"]
    assert [executor in row for row in rows] == [True, True]
    unknown = shell.run("task", "stages", "f", "--job-id", "nope")
    assert (unknown.returncode, "has no run 'nope'" in unknown.stderr) == (1, True)


def test_moments_in_a_yaml_file_are_text(shell: Shell) -> None:
    (shell.folder / "later.yaml").write_text(
        "id: later\nnext_run: 2040-01-31T09:00:00\ncommands:\n"
        "- {method: do.echo, params: {data: 2040-01-31}}\n"
    )
    assert shell.run("task", "create", "later.yaml").returncode == 0
    later = shell.json("task", "show", "later")
    assert later["next_run"] == 2211613200
    assert later["commands"][0]["params"] == {"data": "2040-01-31"}


def test_a_wrong_field_is_named_once_by_validate(shell: Shell) -> None:
    (shell.folder / "typo.yaml").write_text("comands: []\n")
    said = shell.run("task", "validate", "typo.yaml").stderr.splitlines()[0]
    assert said == "`data.comands` is not known; did you mean `commands`?"


def test_a_message_reaches_its_hook(shell: Shell) -> None:
    file = shell.folder / "ask.yaml"
    file.write_text("id: ask\ncommands:\n- method: _MESSAGE_\n  params: {name: answer}\n")
    assert shell.run("task", "create", "ask.yaml").returncode == 0
    sent = shell.run("task", "message", "ask", '{"yes": true}', "--name", "answer")
    assert (sent.returncode, sent.stdout.split()[0] in ("delivered", "buffered")) == (0, True)
    shell.run("task", "watch", "ask")
    assert shell.json("task", "show", "ask")["result"] == [{"yes": True}]
    late = shell.run("task", "message", "ask", "again")
    assert late.returncode == 1
    assert late.stdout.startswith("rejected: ")


def test_a_message_that_no_hook_takes_is_named(shell: Shell) -> None:
    shell.run("task", "create", "--set", "id=m", "--method", "_MESSAGE_", "--param", "name=paid")
    other = shell.run("task", "message", "m", "--name", "pay")
    assert other.stdout == "rejected: no remaining Message stage takes a message named 'pay'\n"
    none = shell.run("task", "message", "m")
    assert none.stdout == "rejected: no remaining Message stage takes a message without a name\n"


def test_create_says_when_the_task_was_there(shell: Shell) -> None:
    create = ("task", "create", "--method", "do.echo", "--param", "data=1", "--set", "id=a")
    assert shell.run(*create).stderr == ""
    again = shell.run(*create, "--on-conflict", "ignore")
    said = "task 'a' already exists; nothing was created\n"
    assert (again.returncode, again.stdout, again.stderr) == (0, "a\n", said)
    shell.run("task", "watch", "a")
    replaced = shell.run(*create, "--on-conflict", "replace")
    assert replaced.stderr == "task 'a' already exists; it was redefined\n"


def test_show_leaves_out_what_has_its_default(shell: Shell) -> None:
    plain = {f.name: f.default for f in msgspec.structs.fields(NewTask)}
    managed = {"retries": 0, "rev": 1}
    assert {name: (plain | managed)[name] for name in DEFAULTS} == DEFAULTS
    shell.run("task", "create", "--method", "do.echo", "--set", "id=a", "--set", "enabled=false")
    fields = dict(line.split(None, 1) for line in _fields(shell.run("task", "show", "a").stdout))
    assert fields["enabled"] == "false"
    assert not fields.keys() & (DEFAULTS.keys() - {"enabled"})


def _fields(shown: str) -> list[str]:
    return shown.partition("\n\n")[0].splitlines()


def test_a_task_is_held_and_goes_on(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.echo", "--set", "id=h", "--set", "delay=60")
    assert "SUSPENDED" in shell.run("task", "suspend", "h").stdout
    assert "IDLE" in shell.run("task", "resume", "h").stdout
    assert shell.run("task", "run-now", "h").returncode == 0
    assert shell.run("task", "watch", "h").returncode == 0
    assert shell.run("task", "reset", "h").returncode == 0
    assert shell.run("task", "watch", "h").returncode == 0
    conflict = shell.run("task", "resume", "h")
    assert conflict.returncode == 1
    assert "FINISHED" in conflict.stderr


def test_a_file_is_read_from_standard_input_and_validated(shell: Shell) -> None:
    task = {"id": "in", "commands": [{"method": "do.echo", "params": {"data": "[kws.x]"}}]}
    created = shell.run("task", "create", "-", "--kw", "x=5", "--watch", stdin=json.dumps(task))
    assert created.returncode == 0
    assert shell.json("task", "show", "in")["result"] == [5]
    (shell.folder / "wrong.json").write_text('{"commands": []}')
    wrong = shell.run("task", "validate", "wrong.json")
    assert wrong.returncode == 1
    assert "commands" in wrong.stderr
    (shell.folder / "right.json").write_text(json.dumps(task))
    assert shell.run("task", "validate", "right.json").stdout == "valid\n"


def test_a_refused_task_names_its_field(shell: Shell) -> None:
    refused = shell.run("task", "create", "--method", "do.echo", "--set", "max_retries=11")
    assert refused.returncode == 1
    assert "data.max_retries" in refused.stderr
    unknown = shell.run("task", "create", "--method", "do.nope")
    assert unknown.returncode == 0
    assert "warning: no executor" in unknown.stderr


def test_strict_refuses_what_no_executor_can_run(shell: Shell) -> None:
    refused = shell.run("task", "create", "--method", "do.ecko", "--strict")
    assert refused.returncode == 1
    assert "data.commands.0.method" in refused.stderr
    assert "did you mean 'do.echo'?" in refused.stderr
    task = {"commands": [{"method": "do.sleep", "params": {"seconds": "5"}}]}
    (shell.folder / "task.json").write_text(json.dumps(task))
    warned = shell.run("task", "validate", "task.json")
    assert (warned.returncode, warned.stdout) == (0, "valid\n")
    assert "warning: `commands.0.params.seconds` must be a number" in warned.stderr
    wrong = shell.run("task", "validate", "task.json", "--strict")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "data.commands.0.params.seconds" in wrong.stderr


def test_executors_are_listed_and_operated(shell: Shell) -> None:
    [one] = shell.json("executors")
    assert one["app_names"] == ["default"]
    assert one["id"] in shell.run("executors", "list").stdout
    methods = [view["method"] for view in shell.json("executors", "commands")]
    assert "do.echo" in methods
    assert "DRAINING" in shell.run("executors", "drain", one["id"]).stdout
    assert "ACTIVE" in shell.run("executors", "resume", one["id"]).stdout
    assert shell.run("executors", "suspend", "nope").returncode == 1


def test_the_coming_fires_of_all_tasks_are_listed(shell: Shell) -> None:
    for name, hour in (("late", 5), ("early", 3)):
        cron = f"cron=0 {hour} * * *"
        shell.run("task", "create", "--method", "do.echo", "--set", f"id={name}", "--set", cron)
    day = ("cron", "upcoming", "--from", "2040-01-31", "--to", "2040-02-01")
    header, early, late = shell.run(*day).stdout.splitlines()
    assert header.split()[:3] == ["AT", "ID", "APP_NAME"]
    assert early.startswith("2040-01-31 03:00:00 UTC  early")
    assert late.startswith("2040-01-31 05:00:00 UTC  late")
    first = shell.run(*day, "--limit", "1")
    assert (len(first.stdout.splitlines()), first.stderr) == (
        2, "and more fires; --limit lists more of them\n"
    )  # fmt: skip
    assert shell.json(*day, "--app", "nobody") == {"data": [], "more": False}


def test_cron_fires_are_previewed(shell: Shell) -> None:
    fires = shell.json("cron", "preview", "0 9 * * 1", "-n", "3", "--timezone", "Europe/Berlin")
    week, hour = 7 * 86_400, 3_600  # a change of summer time may lie between
    assert all(abs(later - earlier - week) <= hour for earlier, later in pairwise(fires))
    shown = shell.run("cron", "preview", "0 9 * * *", "--timezone", "Asia/Tokyo", "-n", "1").stdout
    assert shown.endswith(" 09:00:00 +09:00\n")
    first = ("cron", "preview", "0 9 * * *", "--after", "2040-01-31", "-n", "1")
    assert shell.run(*first).stdout == "2040-01-31 09:00:00 UTC\n"
    unix = ("cron", "preview", "0 9 * * *", "--after", "2211613200", "-n", "1")
    assert shell.run(*unix).stdout == "2040-02-01 09:00:00 UTC\n"
    wrong = shell.run("cron", "preview", "0 9 * *")
    assert wrong.returncode == 1
    assert "cron" in wrong.stderr


def test_the_tables_are_migrated_and_looked_at(shell: Shell) -> None:
    url = f"sqlite:///{shell.folder}/other.db"
    assert shell.run("db", "status", "--db", url).returncode == 1
    assert shell.run("db", "migrate", "--db", url).returncode == 0
    assert {one["state"] for one in shell.json("db", "status", "--db", url)} == {"applied"}


@cache
def loaded_by(modules: str) -> set[str]:
    """Every module that importing these loads."""
    code = f"import sys, {modules}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return set(ran.stdout.decode().split())


@pytest.mark.parametrize("module", ["aiohttp", "asyncpg", "asyncio", "msgspec", "rich", "yaml"])
def test_a_one_shot_command_starts_without(module: str) -> None:
    loaded = loaded_by("kaiju_tasks.cli.main, kaiju_tasks.cli.task, kaiju_tasks.cli.executors")
    assert "kaiju_tasks.cli.remote" in loaded
    assert module not in loaded


@pytest.mark.parametrize("module", ["aiohttp.web", "prometheus_client", "kaiju_tasks.server"])
@pytest.mark.parametrize("users", ["kaiju_tasks.testing", "kaiju_tasks.executor.process"])
def test_tests_and_executors_load_no_server(users: str, module: str) -> None:
    assert users in loaded_by(users)
    assert module not in loaded_by(users)


def test_validate_prints_every_problem(shell: Shell) -> None:
    wrong = {
        "priority": "high",
        "commands": [{"method": "a", "params": {"x": "[0"}}, {"method": "_TIMER_"}],
        "cron": "61 * * * *",
    }
    (shell.folder / "wrong.json").write_text(json.dumps(wrong))
    said = shell.run("task", "validate", "wrong.json")
    assert said.returncode == 1
    fields = ["priority", "commands.0.params.x", "commands.1.params", "cron"]
    lines = said.stderr.splitlines()
    assert len(lines) == len(fields)
    for line, field in zip(lines, fields, strict=True):
        assert f"data.{field}" in line
