"""Pauses, explanations, edits and restarts, from the command line."""

from tests.cli.conftest import Invoke, Shell


def test_a_pause_is_added_listed_explained_and_removed(shell: Shell) -> None:
    add = ("pauses", "add", "--app", "default", "--reason", "new disks", "--id", "p")
    assert shell.run(*add).stdout == "p\n"
    shell.run("task", "create", "--method", "do.echo", "--set", "id=t")
    explained = shell.run("task", "explain", "t").stdout
    assert explained == "The task is QUEUED: a pause holds it (new disks), until it is removed.\n"
    assert shell.json("task", "explain", "t")["reasons"][0]["code"] == "paused"
    header, row = shell.run("pauses", "list").stdout.splitlines()
    assert header.split() == ["ID", "HOLDS", "NOW", "REASON"]
    assert row.split() == ["p", "app_name=default", "held", "new", "disks"]
    assert shell.run("pauses", "remove", "p").stdout == "removed\n"
    assert shell.run("task", "watch", "t").returncode == 0
    gone = shell.run("pauses", "remove", "p")
    assert (gone.returncode, gone.stderr) == (1, "there is no pause 'p'\n")


def test_a_window_is_shown_with_its_zone(shell: Shell) -> None:
    shell.run(
        "pauses", "add", "--method", "mail.*", "--reason", "night", "--cron", "0 3 * * *",
        "--duration", "3600", "--timezone", "Europe/Berlin", "--until", "2099-01-01",
        "--condition", '{"kws.x": 1}', "--stop-running",
    )  # fmt: skip
    (pause,) = shell.json("pauses", "list")
    assert (pause["condition"], pause["stop_running"]) == ({"kws.x": 1}, True)
    listed = shell.run("pauses", "list").stdout
    assert "0 3 * * * Europe/Berlin, 3600 s" in listed
    assert 'method=mail.* {"kws.x": 1}' in listed


def test_a_pause_has_a_reason(invoke: Invoke) -> None:
    refused = invoke("pauses", "add", "--app", "x")
    assert refused.exit_code == 2
    assert "--reason" in refused.output


def test_a_task_is_edited_and_restarted(shell: Shell) -> None:
    task = """{"id": "t", "commands": [
        {"method": "do.echo", "params": {"data": 1}},
        {"method": "do.echo", "name": "last", "params": {"data": "[kws.x:0]"}}]}"""
    (shell.folder / "task.json").write_text(task)
    shell.run("task", "create", "task.json", "--watch")
    updated = shell.run("task", "update", "t", 'kws={"x": 5}', "priority=3")
    assert updated.returncode == 0, updated.stderr
    shell.run("task", "restart-from", "t", "last")
    shell.run("task", "watch", "t")
    shown = shell.json("task", "show", "t")
    assert (shown["result"], shown["priority"]) == ([1, 5], 3)
    wrong = shell.run("task", "update", "t", "status=IDLE")
    assert (wrong.returncode, "status" in wrong.stderr) == (1, True)
