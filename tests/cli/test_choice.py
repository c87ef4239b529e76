"""`--where` and the options that are short for it."""

import enum
from typing import Any

import pytest

from kaiju_tasks.api.filters import ISO_TIMES, UNIX_TIMES
from kaiju_tasks.cli.choice import read_where
from kaiju_tasks.cli.columns import (
    AUDIT,
    BULKS,
    EVENTS,
    NOTIFICATIONS,
    RUNS,
    TASKS,
    Columns,
)
from kaiju_tasks.manager.events.event_matcher import EVENT_COLUMNS
from kaiju_tasks.store.base import (
    AUDIT_COLUMNS,
    BULK_COLUMNS,
    NOTIFICATION_COLUMNS,
    RUN_COLUMNS,
    TASK_COLUMNS,
)
from kaiju_tasks.types import BulkState, RunOutcome, TaskStatus
from tests.cli.conftest import Invoke, Shell

COMMANDS = [
    ["task", "list"],
    ["task", "count"],
    ["task", "cancel"],
    ["task", "reset"],
    ["task", "suspend"],
    ["task", "resume"],
    ["notifications", "list"],
    ["events"],
]


@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("status=failed", {"status": "failed"}),
        ("status=Failed", {"status": "FAILED"}),
        ('status="failed,waiting"', {"status": "failed, waiting"}),
        ('status=["failed", "WAITING"]', {"status": "failed,waiting"}),
        ("app=billing", {"app_name": "billing"}),
        ("app_name=billing", {"app_name": "billing"}),
        ("group=g", {"group": "g"}),
        ("task=t", {"task_id": "t"}),
        ("user=u", {"user_id": "u"}),
    ],
)
def test_a_condition_is_read_as_its_option(where: str, options: dict[str, str]) -> None:
    known = NOTIFICATIONS if "task_id" in options else TASKS
    assert read_where((where,), known) == read_where((), known, **options)


@pytest.mark.parametrize(
    ("where", "conditions"),
    [
        ('status={"like": "F%"}', {"status": {"like": "F%"}}),
        ("status=null", {"status": None}),
        ("description=failed", {"description": "failed"}),
        ('next_run={"lt": "2030-01-01"}', {"next_run": {"lt": "2030-01-01"}}),
    ],
)
def test_other_conditions_are_sent_as_they_are(where: str, conditions: dict[str, Any]) -> None:
    assert read_where((where,), TASKS) == conditions


@pytest.mark.parametrize(
    ("where", "conditions"),
    [
        (["id=123"], {"id": "123"}),
        (["parent_id=007"], {"parent_id": "007"}),
        (["executor_id=1e3"], {"executor_id": "1e3"}),
        (["job_id=true"], {"job_id": "true"}),
        (["app=12.50"], {"app_name": "12.50"}),
        (['user_id="12"'], {"user_id": "12"}),
        (["user_id=null"], {"user_id": None}),
        (['id=[1, "2", null]'], {"id": ["1", "2", None]}),
        (['id={"ge": 5}'], {"id": {"ge": "5"}}),
        (["id>=5"], {"id": {"ge": "5"}}),
        (["priority=123", "system=true"], {"priority": 123, "system": True}),
        (["created=123"], {"created": 123}),
        (["priority>=5"], {"priority": {"ge": 5}}),
        (["next_run < 2030-01-01"], {"next_run": {"lt": " 2030-01-01"}}),
        (["priority>1", "priority<=5"], {"priority": {"gt": 1, "le": 5}}),
        (["description=a>=b"], {"description": "a>=b"}),
        (["PRIORITY=1", "Status=idle"], {"priority": 1, "status": ["IDLE"]}),
    ],
    ids=str,
)
def test_a_value_has_the_type_of_its_column(where: list[str], conditions: dict[str, Any]) -> None:
    assert read_where(tuple(where), TASKS) == conditions


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("foo=1", "--where: unknown column 'foo'. Columns are: "),
        ("status", "--where must have the form COLUMN=JSON, or a comparison"),
        ("status!=idle", "To exclude values, list those to select"),
        ("status==idle", "--where: write = instead of ==, as in 'status=idle'."),
        ("status<>idle", "--where must have the form COLUMN=JSON, or a comparison"),
        ("status=<idle", None),
        ("id>=[1]", "--where id: >= must be followed by one value."),
    ],
)
def test_every_command_refuses_a_condition_that_cannot_be_read(
    invoke: Invoke, command: list[str], where: str, said: str | None
) -> None:
    refused = invoke(*command, "--where", where)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert (said or "'<idle' is not a status") in refused.stderr


@pytest.mark.parametrize(
    ("known", "of_api"),
    [
        (TASKS, TASK_COLUMNS),
        (RUNS, RUN_COLUMNS),
        (NOTIFICATIONS, NOTIFICATION_COLUMNS),
        (AUDIT, AUDIT_COLUMNS),
        (BULKS, BULK_COLUMNS),
        (EVENTS, EVENT_COLUMNS),
    ],
)
def test_the_columns_are_those_of_the_api(known: Columns, of_api: dict[str, type]) -> None:
    times = UNIX_TIMES | ISO_TIMES
    assert known.text == {name for name, kind in of_api.items() if kind is str} - times
    assert known.other == of_api.keys() - known.text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_refuses_a_status_that_does_not_exist(
    invoke: Invoke, command: list[str]
) -> None:
    for where in ("status=finishd", 'status=["failed", "finishd"]'):
        refused = invoke(*command, "--where", where)
        assert refused.exit_code == 2
        assert "'finishd' is not a status. Use one of: idle, queued" in refused.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--status", "failed", "--where", "status=idle"],
            "status has more than one condition, from both --status and",
        ),
        (
            ["--app", "a", "--where", "app=b"],
            "app_name has more than one condition, from both --app and --where",
        ),
        (
            ["--where", "priority=1", "--where", "priority=2"],
            "priority has more than one condition, from two --where",
        ),
        (
            ["--where", "priority>1", "--where", "priority>2"],
            "priority has more than one condition, from two --where",
        ),
        (
            ["--where", "priority=1", "--where", "priority>2"],
            "priority has more than one condition, from two --where",
        ),
    ],
)
def test_a_column_that_is_given_twice_is_refused(
    invoke: Invoke, arguments: list[str], said: str
) -> None:
    refused = invoke("task", "list", *arguments)
    assert (refused.exit_code, said in refused.output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "--method", "a", "--app", "zz", "--set", 'app_name="yy"'], "either --app or"),
        (["create", "--method", "a", "--set", "commands=[]"], "either --method or --set commands"),
        (["create", "--method", "a", "--kw", "a=1", "--set", "kws={}"], "either --kw or --set kws"),
        (["create", "--method", "a", "--set", "id=a", "--set", "id=b"], "--set id is given twice"),
        (["create", "--method", "a", "--kw", "a=1", "--kw", "a=2"], "--kw a is given twice"),
        (["create", "--method", "a", "--param", "a=1", "--param", "a=1"], "--param a is given"),
        (["update", "t", "notify=true", "notify=false"], "FIELD notify is given twice"),
    ],
)
def test_a_field_that_is_given_twice_is_refused(
    invoke: Invoke, arguments: list[str], said: str
) -> None:
    refused = invoke("task", *arguments)
    assert (refused.exit_code, said in refused.stderr) == (2, True)


def test_a_task_is_created_on_the_stream_that_app_names(shell: Shell) -> None:
    create = ("task", "create", "--method", "do.echo", "--app", "billing")
    assert shell.json(*create)["app_name"] == "billing"
    (shell.folder / "task.json").write_text('{"app_name": "x", "commands": [{"method": "a"}]}')
    assert shell.json("task", "create", "task.json", "--app", "billing")["app_name"] == "billing"


def test_lists_counts_and_operations_choose_the_same_tasks(shell: Shell) -> None:
    create = ("task", "create", "--set", "notify=true", "--app", "default")
    for name, method in (("a", "do.fail"), ("b", "do.echo")):
        shell.run(*create, "--method", method, "--set", f"id={name}", "--watch")
    for where in (
        ("--status", "failed"),
        ("--where", "status=failed"),
        ("--where", "status=Failed"),
    ):
        assert [task["id"] for task in shell.json("task", "list", *where)["data"]] == ["a"]
        assert shell.run("task", "count", *where).stdout == "1\n"
        assert shell.json("task", "reset", *where, "--dry-run")["sample"] == ["a"]
    for one in ("status=failed", "task=a", 'created={"lt": "2026-01-01 00:00:00 UTC"}'):
        page = shell.json("notifications", "list", "--where", one)
        assert page["count"] == (0 if "created" in one else 1)
    assert shell.json("task", "count", "--where", "app=default") == {"count": 2}
    seven = ("task", "create", "--method", "do.echo", "--set", 'id="7"', "--set", "priority=7")
    shell.run(*seven, "--watch")
    for one in ("id=7", "priority>=7", "ID=7"):
        assert [task["id"] for task in shell.json("task", "list", "--where", one)["data"]] == ["7"]
    assert shell.run("task", "list", "--columns", "ID,STATUS", "--sort", "-ID").stdout.startswith(
        "ID  STATUS\nb   FINISHED\n"
    )
    shell.run("task", "suspend", "--where", "status=finished")
    since = shell.json("audit", "--where", 'at={"ge": "2026-01-01"}')["data"]
    assert [record["action"] for record in since] == ["tasks.m_suspend"]
    assert shell.json("audit", "--where", 'at={"lt": "2026-01-01"}')["count"] == 0


@pytest.mark.parametrize(
    ("columns", "statuses"),
    [(TASKS, TaskStatus), (RUNS, RunOutcome), (NOTIFICATIONS, TaskStatus), (BULKS, BulkState)],
)
def test_the_statuses_to_choose_from_are_those_of_the_api(
    columns: Columns, statuses: type[enum.Enum]
) -> None:
    assert set(columns.statuses) == {status.value for status in statuses}


def test_the_state_of_a_bulk_call_is_written_in_any_case(invoke: Invoke) -> None:
    wanted = {"state": ["RUNNING", "STOPPED"]}
    assert read_where(("state=running,Stopped",), BULKS) == wanted
    assert read_where(("STATE=stopped",), BULKS) == read_where((), BULKS, state="STOPPED")
    refused = invoke("bulk", "list", "--where", "state=idle")
    assert refused.exit_code == 2
    assert "'idle' is not a state. Use one of: running, finished" in refused.stderr
