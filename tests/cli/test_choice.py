"""`--where` and the options that are short for it."""

from typing import Any

import pytest

from kaiju_tasks.cli.choice import STATUSES, read_where
from kaiju_tasks.types import TaskStatus
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
    assert read_where((where,)) == read_where((), **options)


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
    assert read_where((where,)) == conditions


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_refuses_a_status_that_does_not_exist(
    invoke: Invoke, command: list[str]
) -> None:
    for where in ("status=finishd", 'status=["failed", "finishd"]'):
        refused = invoke(*command, "--where", where)
        assert refused.exit_code == 2
        assert "'finishd' is not a status. Statuses are: idle, queued" in refused.output


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
    ],
)
def test_a_column_that_is_given_twice_is_refused(
    invoke: Invoke, arguments: list[str], said: str
) -> None:
    refused = invoke("task", "list", *arguments)
    assert (refused.exit_code, said in refused.output) == (2, True)


async def test_a_task_is_created_on_the_stream_that_app_names(shell: Shell) -> None:
    create = ("task", "create", "--method", "do.echo", "--app", "billing")
    assert shell.json(*create)["app_name"] == "billing"
    (shell.folder / "task.json").write_text('{"app_name": "x", "commands": [{"method": "a"}]}')
    assert shell.json("task", "create", "task.json", "--app", "billing")["app_name"] == "billing"


async def test_lists_counts_and_operations_choose_the_same_tasks(shell: Shell) -> None:
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
    shell.run("task", "suspend", "--where", "status=finished")
    since = shell.json("audit", "--where", 'at={"ge": "2026-01-01"}')["data"]
    assert [record["action"] for record in since] == ["tasks.m_suspend"]
    assert shell.json("audit", "--where", 'at={"lt": "2026-01-01"}')["count"] == 0


def test_the_statuses_to_choose_from_are_those_of_a_task() -> None:
    assert set(STATUSES) == {str(status) for status in TaskStatus}
