"""Many tasks at once, notifications and the audit, from the command line."""

import json

import pytest

from kaiju_tasks.cli.operate import progress_line
from tests.cli.conftest import Invoke, Shell


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reset"], "Give the ID of a task, or select tasks"),
        (["cancel", "a", "--status", "failed"], "not both"),
        (["suspend", "a", "--where", "priority=1"], "not both"),
        (["reset", "a", "--rate", "5"], "--rate cannot be used with an ID"),
        (["resume", "a", "--dry-run"], "--dry-run and --rate cannot be used with an ID"),
        (["reset", "--status", "nope"], "'nope' is not a status"),
        (["reset", "--where", "priority"], "--where must have the form COLUMN=JSON"),
        (["reset", "--group", "g", "--rate", "0"], "--rate"),
        (["run-now"], "Give the ID of a task, or select tasks"),
        (["delete"], "Give the ID of a task, or select tasks"),
        (["delete", "a", "--group", "g"], "not both"),
        (["message", "a", "b", "--group", "g"], "not both"),
        (["message", "a", "b", "c"], "Give one DATA"),
        (["restart-from", "a"], "Give the STAGE of the task after its ID"),
        (["restart-from", "a", "1", "--failed"], "Give the STAGE of the task after its ID"),
        (["restart-from", "a", "--failed", "--stage", "1"], "Give the STAGE of the task after"),
        (["restart-from", "--group", "g"], "Give either --failed or --stage"),
        (["restart-from", "--group", "g", "--failed", "--stage", "1"], "either --failed or"),
    ],
)
def test_it_is_said_which_tasks_are_meant_and_in_one_way(
    invoke: Invoke, arguments: list[str], said: str
) -> None:
    refused = invoke("task", *arguments)
    assert refused.exit_code == 2
    assert said in refused.output


def test_an_id_does_not_act_on_the_terminal_that_shows_it() -> None:
    task = {"id": "a\u202eb", "status": "IDLE", "status_reason": None, "stage": 0, "stages": 1}
    assert progress_line(task) == "a b: IDLE, stage 1 of 1"


def test_many_tasks_are_counted_then_changed(shell: Shell) -> None:
    for name in ("a", "b"):
        create = ("task", "create", "--method", "do.echo", "--set", "group=g")
        shell.run(*create, "--set", f'id="{name}"', "--set", "delay=600")
    shell.run("task", "create", "--method", "do.echo", "--set", "id=c", "--set", "group=g")
    shell.run("task", "watch", "c")
    tried = shell.run("task", "suspend", "--group", "g", "--dry-run")
    assert tried.stdout.splitlines() == ["3 matched; nothing was changed", "  a", "  b", "  c"]
    assert shell.json("task", "list", "--status", "suspended")["count"] == 0
    held = shell.run("task", "suspend", "--group", "g", "--rate", "1000", "--wait-stage")
    assert held.returncode == 0
    assert held.stdout.splitlines()[0] == "3 matched: 2 done, 1 refused, 0 pending"
    assert held.stderr.startswith("refused: c: ")
    result = shell.json("task", "cancel", "--where", 'id=["a","b"]', "--status", "suspended")
    assert (result["done"], result["sample"]) == (2, ["a", "b"])
    assert shell.json("task", "reset", "--where", 'id={"like": "%"}', "--dry-run")["matched"] == 3
    assert "a: EXECUTED" in shell.run("task", "reset", "a").stdout


def test_more_than_twenty_tasks_are_changed_after_a_question(shell: Shell) -> None:
    for index in range(21):
        create = ("task", "create", "--method", "do.echo", "--set", "delay=600")
        shell.run(*create, "--set", f'id="t{index:02}"', "--set", "group=g")
    refused = shell.run("task", "cancel", "--group", "g")
    assert (refused.returncode, refused.stderr) == (
        2,
        "`tasks.m_cancel` acts on 21 tasks. Add --yes to do so without being asked.\n",
    )
    assert shell.json("task", "count", "--status", "failed")["count"] == 0
    assert shell.json("bulk")["count"] == 0
    done = shell.run("task", "cancel", "--group", "g", "--yes", "--reason", "old")
    assert done.stdout.splitlines()[0] == "21 matched: 21 done, 0 refused, 0 pending"
    again = shell.run("task", "cancel", "--group", "g")
    assert (again.returncode, again.stdout.splitlines()[0]) == (
        0,
        "21 matched: 0 done, 21 refused, 0 pending",
    )
    assert again.stderr.splitlines()[-1] == "refused: 21 tasks (status FAILED)"
    header, newest, oldest = shell.run("bulk").stdout.splitlines()
    assert header.split()[:3] == ["ID", "METHOD", "STATE"]
    assert ("FINISHED" in newest, oldest.split()[-1]) == (True, "old")
    shown = shell.run("bulk", "show", newest.split()[0]).stdout
    assert "refused FAILED: 21: no run is open: nothing to cancel" not in shown
    assert "refused FAILED: 21: cancel is not possible: the task is FAILED" in shown
    deleted = shell.run("task", "delete", "--group", "g", "--yes")
    assert deleted.stdout.splitlines()[0] == "21 matched: 21 done, 0 refused, 0 pending"


def test_the_question_can_be_answered_on_a_terminal(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        create = ("task", "create", "--method", "do.echo", "--set", "delay=600")
        shell.run(*create, "--set", f'id="{name}"', "--set", "group=g")
    shell.run("task", "cancel", "c")
    monkeypatch.setattr("kaiju_tasks.cli.many.can_ask", lambda: True)
    monkeypatch.setattr("kaiju_tasks.cli.many.ASKS_ABOVE", 1)
    no = shell.run("task", "cancel", "--group", "g", stdin="n\n")
    assert no.returncode == 1
    assert "`tasks.m_cancel` acts on 2 tasks; 1 more will be refused. Go on? [y/N]" in no.stderr
    assert no.stderr.endswith("Nothing was changed.\n")
    assert shell.json("bulk")["count"] == 0
    yes = shell.run("task", "cancel", "--group", "g", stdin="y\n")
    assert (yes.returncode, yes.stdout.splitlines()[0]) == (
        0,
        "3 matched: 2 done, 1 refused, 0 pending",
    )


def test_failed_tasks_restart_from_the_stage_that_has_failed(shell: Shell) -> None:
    echo, fail = {"method": "do.echo", "params": {"data": 1}}, {"method": "do.fail"}
    for name in ("a", "b"):
        task = json.dumps({"id": name, "commands": [echo, fail]})
        shell.run("task", "create", "-", "--watch", stdin=task)
    shell.run("task", "create", "--method", "do.echo", "--set", "id=c", "--watch")
    restart = ("task", "restart-from", "--failed", "--app", "default")
    assert shell.run(*restart, "--dry-run").stdout.splitlines()[0].startswith("3 matched")
    restarted = shell.run(*restart)
    assert restarted.stdout.splitlines()[0] == "3 matched: 2 done, 1 refused, 0 pending"
    assert "refused: c: restart_from is not possible" in restarted.stderr
    shell.run("task", "watch", "a")
    newest, _ = shell.json("task", "runs", "a")
    stages = shell.json("task", "stages", "a", "--job-id", newest["job_id"])
    assert [one["stage"] for one in stages if one["outcome"] == "FAILED"] == [1]
    assert shell.run("task", "restart-from", "a", "--failed").stdout.endswith("stage 2 of 2\n")
    refused = shell.run("task", "restart-from", "c", "--failed")
    assert (refused.returncode, "the last run has not failed" in refused.stderr) == (1, True)


def test_a_message_is_sent_to_all_that_match(shell: Shell) -> None:
    for name in ("a", "b"):
        task = {"id": name, "group": "g", "commands": [{"method": "_MESSAGE_", "params": {}}]}
        shell.run("task", "create", "-", stdin=json.dumps(task))
    sent = shell.run("task", "message", "--group", "g", "true")
    assert sent.stdout.splitlines()[0] == "2 matched: 2 done, 0 refused, 0 pending"
    assert shell.json("task", "show", "a")["result"] == [True]


def test_notifications_are_listed_shown_dismissed_and_deleted(shell: Shell) -> None:
    for name in ("a", "b"):
        create = ("task", "create", "--method", "do.fail", "--set", "notify=true")
        shell.run(*create, "--set", f"id={name}", "--watch")
    newest, oldest = shell.json("notifications", "list")["data"]
    assert (newest["task_id"], oldest["task_id"]) == ("b", "a")
    header, row, _ = shell.run("notifications", "list").stdout.splitlines()
    assert header.split() == ["ID", "CREATED", "TASK_ID", "STATUS", "EXIT_CODE", "MESSAGE"]
    assert row.split()[0] == newest["id"]
    assert row.endswith("failed on request")
    assert shell.json("notifications", "show", oldest["id"]) == oldest
    assert "task_id" in shell.run("notifications", "show", oldest["id"]).stdout
    assert shell.run("notifications", "dismiss", oldest["id"]).stdout == "dismissed\n"
    assert shell.json("notifications", "list")["data"] == [newest]
    everything = shell.run("notifications", "list", "--all", "--limit", "1")
    assert "1 of 2" in everything.stderr
    assert shell.json("notifications", "list", "--all", "--task", "a")["count"] == 1
    assert shell.run("notifications", "delete", oldest["id"]).stdout == "deleted\n"
    gone = shell.run("notifications", "delete", oldest["id"])
    assert (gone.returncode, gone.stderr) == (1, f"there is no notification '{oldest['id']}'\n")


def test_the_audit_tells_who_did_what(shell: Shell) -> None:
    create = ("task", "create", "--method", "do.echo", "--set", "id=a", "--set", "delay=600")
    shell.run(*create)
    assert shell.run("audit").stdout.split() == ["AT", "ACTION"]
    shell.run("task", "suspend", "a")
    shell.run("task", "resume", "a")
    header, newest, _ = shell.run("audit").stdout.splitlines()
    assert header.split() == ["AT", "REMOTE", "ACTION", "TARGET", "DATA"]
    assert newest.split()[-3:] == ["127.0.0.1", "tasks.resume", "a"]
    (record,) = shell.json("audit", "--action", "tasks.suspend", "--target", "a")["data"]
    assert (record["remote"], record["data"]) == ("127.0.0.1", {"wait_stage": False})
    assert shell.json("audit", "--user", "nobody")["count"] == 0
    assert "1 of 2" in shell.run("audit", "--limit", "1").stderr


def test_the_runs_of_all_tasks_are_listed_and_shown(shell: Shell) -> None:
    for name, method in (("a", "do.echo"), ("b", "do.fail")):
        shell.run("task", "create", "--method", method, "--set", f"id={name}", "--watch")
    header, *rows = shell.run("runs").stdout.splitlines()
    assert header.split()[:3] == ["JOB_ID", "TASK_ID", "STATUS"]
    assert [row.split()[1] for row in rows] == ["b", "a"]
    (failed,) = shell.json("runs", "list", "--failed", "--since", "2020-01-01")["data"]
    assert (failed["task_id"], failed["error"]["type"]) == ("b", "execution_error")
    assert shell.json("runs", "list", "--until", "2020-01-01", "--sort", "task_id")["count"] == 0
    assert shell.json("runs", "list", "--where", "status=finished,missed")["count"] == 1
    job = failed["job_id"]
    assert shell.json("runs", "show", job)["task_id"] == "b"
    assert "FAILED" in shell.run("runs", "show", f"{job[:4]}…{job[-4:]}").stdout
    wrong = shell.run("runs", "list", "--since", "2020-01-01", "--where", "ended_at>1")
    assert wrong.returncode == 2


def test_streams_are_listed_with_what_waits_runs_and_is_held(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.echo", "--watch")
    shell.run("pauses", "add", "--app", "mail", "--reason", "down")
    shell.run("task", "create", "--method", "do.echo", "--app", "mail")
    header, default, mail = shell.run("streams").stdout.splitlines()
    assert header.split()[:4] == ["APP_NAME", "READY", "RUNNING", "WAITING"]
    assert (default.split()[0], mail.split()[:5]) == ("default", ["mail", "0", "0", "0", "paused"])
    assert [one["held"] for one in shell.json("streams")] == [{}, {"paused": 1}]


def test_marks_are_added_and_listed(shell: Shell) -> None:
    assert shell.run("mark", "add", "v2.3").stdout == "added\n"
    shell.run("mark", "add", "v2.2", "--at", "2026-01-01", "--app", "mail")
    header, new, old = shell.run("mark").stdout.splitlines()
    assert (header.split(), new.split()[-1]) == (["AT", "LABEL", "APP_NAME"], "v2.3")
    assert old == "2026-01-01 00:00:00 UTC  v2.2   mail"
    assert [one["label"] for one in shell.json("mark", "list", "--to", "2026-06-01")] == ["v2.2"]


def test_the_newest_runs_are_listed(shell: Shell) -> None:
    shell.run("task", "create", "--method", "do.echo", "--set", "id=a", "--watch")
    shell.run("task", "reset", "a")
    shell.run("task", "watch", "a")
    assert len(shell.json("task", "runs", "a")) == 2
    (newest,) = shell.json("task", "runs", "a", "--limit", "1")
    assert newest["job_id"] == shell.json("task", "show", "a")["job_id"]


def test_a_list_can_show_why_its_tasks_are_not_running(shell: Shell) -> None:
    ask = ("task", "create", "--method", "_MESSAGE_", "--param", "name=approved")
    shell.run(*ask, "--set", "id=asks")
    later = ("task", "create", "--method", "do.echo", "--set", "delay=86400")
    for number in range(101):
        shell.run(*later, "--set", f'id="{number}"', "--set", "group=held")
    shell.run("task", "suspend", "7", "--reason", "no paper")
    head, row = shell.run("task", "list", "--where", "id=7", "--why").stdout.splitlines()
    assert head.split() == ["ID", "STATUS", "SINCE", "WHY"]
    assert " suspended it at 20" in row
    chosen = shell.run("task", "list", "--where", "id=asks", "--why", "--columns", "why,id").stdout
    assert "approved" in chosen
    listed = shell.json("task", "list", "--group", "held", "--why", "--limit", "200")["data"]
    explained = {one["id"]: shell.json("task", "explain", one["id"]) for one in listed[:2]}
    for one in listed[:2]:
        assert one["why"] == explained[one["id"]]["reasons"][0]["message"]
    assert len(listed) == 101
    assert all(one["why"] for one in listed)
    assert shell.run("task", "list", "--where", "id=x", "--why").stderr == "no tasks\n"
    both = shell.run("task", "list", "--failed", "--why")
    assert both.returncode == 2
    assert "--failed cannot be used with --why" in both.stderr
