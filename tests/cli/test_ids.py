"""Ids are accepted as a narrow terminal shows them."""

import json
import re

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_terminal import on_terminal

ID = "ee42c492-2026-11-27-invoice-of-a-customer-with-a-long-name-1cad039"
SHOWN = "ee42c492…1cad039"
LATER = ("task", "create", "--method", "do.echo", "--param", "data=1", "--set", "delay=86400")


@pytest.fixture
def tasks(shell: Shell) -> Shell:
    """A manager with three tasks."""
    for id in (ID, "ee42x", "100%_\\of-them"):
        assert shell.run(*LATER, "--set", f"id={id}").returncode == 0
    return shell


def test_what_a_narrow_list_shows_is_accepted_by_every_command(tasks: Shell) -> None:
    rows = on_terminal(tasks, 80, "task", "list")
    shown = next(word for row in rows for word in row.split() if word.startswith("ee42c"))
    assert "…" in shown
    for words in (["show"], ["explain"], ["runs"], ["stages"], ["suspend"], ["resume"]):
        assert tasks.run("task", *words, shown).returncode == 0, words
    assert tasks.run("task", "update", shown, "priority=5").returncode == 0
    assert tasks.json("task", "show", ID)["priority"] == 5
    assert tasks.run("task", "message", shown, "1").stdout.startswith("rejected")
    assert tasks.run("task", "run-now", shown).returncode == 0
    assert tasks.run("task", "watch", shown).stdout.splitlines()[-1].startswith(f"{ID}: FINISHED")
    assert tasks.run("task", "restart-from", shown, "0").returncode == 0
    assert tasks.run("task", "reset", shown).returncode == 0
    assert tasks.run("task", "delete", shown).stdout == "deleted\n"
    assert tasks.run("task", "show", ID).returncode == 1


def test_the_beginning_of_an_id_is_enough_to_look_at_it_but_not_to_change_it(tasks: Shell) -> None:
    assert tasks.json("task", "show", "ee42c")["id"] == ID
    assert tasks.json("task", "show", "100%_\\")["id"] == "100%_\\of-them"
    for words in (["cancel"], ["delete"], ["reset"], ["update", "priority=1"], ["message"]):
        command, *more = words
        refused = tasks.run("task", command, "ee42c", *more)
        assert (refused.returncode, refused.stderr) == (1, "there is no task 'ee42c'\n"), words
    assert tasks.run("task", "cancel", "…1cad039").returncode == 1
    assert tasks.run("task", "cancel", "ee42c492…").returncode == 1
    assert tasks.json("task", "count")["count"] == 3


def test_an_id_that_several_match_is_refused_and_they_are_listed(tasks: Shell) -> None:
    several = tasks.run("task", "show", "ee42")
    assert several.returncode == 1
    assert several.stderr.startswith("there is no task 'ee42'; 2 ids match it: ")
    assert {ID, "ee42x"} <= set(re.split("[ ,\n]+", several.stderr))
    tasks.run(*LATER, "--set", "id=ee42c492-another-1cad039")
    for command in ("show", "cancel", "delete"):
        ambiguous = tasks.run("task", command, SHOWN, "--json")
        error = json.loads(ambiguous.stderr)["error"]
        assert (ambiguous.returncode, error["code"]) == (1, 404)
        assert error["data"] == {"type": "not_found", "id": SHOWN}
        assert "2 ids match it" in error["message"]
    both = tasks.run("task", "delete", SHOWN, "ee42x")
    assert (both.returncode, both.stdout) == (1, "")


def test_a_whole_id_comes_before_all_others(tasks: Shell) -> None:
    tasks.run(*LATER, "--set", "id=ee42")
    tasks.run(*LATER, "--set", f"id={SHOWN}")
    assert tasks.json("task", "show", "ee42")["id"] == "ee42"
    assert tasks.json("task", "show", SHOWN)["id"] == SHOWN
    assert tasks.run("task", "delete", SHOWN, "ee42").stdout == "deleted 2 tasks\n"
    assert tasks.json("task", "show", SHOWN)["id"] == ID


@pytest.mark.parametrize("id", ["ee4", "e…9", "_e42c", "ee42%", "nope-nope", "…", ""])
def test_too_little_or_too_much_is_no_id(tasks: Shell, id: str) -> None:
    refused = tasks.run("task", "explain", id)
    assert refused.returncode == 1
    assert "ids match it" not in refused.stderr


def test_executors_notifications_and_pauses_are_found_alike(tasks: Shell) -> None:
    tasks.run("task", "create", "--method", "do.fail", "--set", "notify=true", "--watch")
    executor = tasks.json("executors")[0]["id"]
    cut = f"{executor[:4]}…{executor[-4:]}"
    assert tasks.json("executors", "show", executor[:6])["id"] == executor
    assert tasks.json("executors", "drain", cut)["status"] == "DRAINING"
    assert tasks.run("executors", "suspend", executor[:6]).returncode == 1
    note = tasks.json("notifications")["data"][0]["id"]
    assert tasks.json("notifications", "show", note[:8])["id"] == note
    assert tasks.run("notifications", "delete", note[:8]).returncode == 1
    assert tasks.run("notifications", "delete", f"{note[:4]}…{note[-4:]}").stdout == "deleted\n"
    tasks.run("pauses", "add", "--group", "g", "--reason", "r", "--id", "a-pause-with-a-long-id")
    assert tasks.run("pauses", "remove", "a-pause").returncode == 1
    assert tasks.run("pauses", "remove", "a-pa…g-id").stdout == "removed\n"
