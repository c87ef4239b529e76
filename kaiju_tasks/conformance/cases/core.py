"""What no executor can do without: connect, work, report once, stop, come back, leave."""

from kaiju_tasks.conformance.cases.case import Case, Under, cases, echo, fail, held, sleep
from kaiju_tasks.conformance.peer import (
    GRACE_SECONDS,
    LEASE_SECONDS,
    PING_SECONDS,
    Deviation,
    Doubtful,
    Json,
    lease_of,
)
from kaiju_tasks.conformance.report import Level

__all__ = ["CASES"]

SHORT = 2 * PING_SECONDS


def demand(holds: bool, problem: str) -> None:
    """:raises Deviation: something does not hold"""
    if not holds:
        raise Deviation(problem)


def demand_begun(report: Json) -> None:
    """Check the end of a stage that ran at SIGTERM.

    An executor that doubts its leases, as after a standstill, holds a task that it has not begun,
    and releases it. A manager cannot see the difference.

    :raises Deviation: it has not ended well
    """
    if report["state"] == "released":
        raise Doubtful("the running stage is reported as 'released'")
    demand(report["state"] == "finished", f"the running stage is reported as {report['state']!r}")


async def connects_first(under: Under) -> None:
    """The first request is manager.connect, with an id, a version, streams and a capacity."""
    params = await under.manager.connect()
    first = under.manager.sent[0].method
    demand(first == "manager.connect", f"its first request is {first!r}")
    demand(isinstance(params.get("id"), str) and bool(params["id"]), "it has sent no `id`")
    demand(params.get("protocol", 1) == 1, "it speaks another version of the protocol than 1")
    demand("default" in params.get("app_names", []), "it does not serve the stream `default`")
    demand(params.get("capacity", 1) >= 2, "its capacity is less than 2")
    demand(not params.get("holding"), "it names leases in `holding` that it cannot have")


async def pings_and_names_what_it_holds(under: Under) -> None:
    """Each ping interval a ping names all leases that it works on."""
    manager = under.manager
    await under.works()
    await manager.until(lambda: manager.of("manager.ping")[1:], "sent two pings")
    task = manager.task(sleep(60))
    await under.started(task)


async def reports_with_the_whole_token(under: Under) -> None:
    """A report has all four parts of the lease's token, unchanged, and the stage."""
    await under.manager.connect()
    task = under.manager.task(echo({"ü": [1, None, 2.5]}), stage=3)
    await under.manager.push(task)
    report = await under.manager.end(task)
    token = {name: report.get(name) for name in lease_of(task)}
    demand(token == lease_of(task), f"the token of the report is {token!r}")
    demand(report["stage"] == 3, "the report is about another stage")
    demand(report["state"] == "finished", f"the stage is reported as {report['state']!r}")
    demand(report["result"] == {"ü": [1, None, 2.5]}, f"the result is {report['result']!r}")


async def waits_for_the_acknowledgement(under: Under) -> None:
    """The next command of a segment begins when the stage before it was acknowledged."""
    manager = under.manager
    await under.works()
    manager.held.add("manager.write_stage")
    task = manager.task(echo(1), echo(2))
    await manager.push(task)
    await manager.end(task)
    await manager.never(
        lambda: [one for one in manager.ends(task) if one["stage"] == 1],
        "begun the second stage before the first was acknowledged",
        SHORT,
    )
    manager.held.clear()
    await manager.cut()
    await manager.until(
        lambda: [one for one in manager.ends(task) if one["stage"] == 1],
        "reported the second stage after the first was acknowledged",
    )


async def a_failure_is_an_execution_error(under: Under) -> None:
    """A command that raises an error is reported as failed, with execution_error and a message."""
    await failure(under, fail(), "execution_error")


async def an_unknown_method_fails_its_stage(under: Under) -> None:
    """A method that it does not have fails the stage with unknown_method."""
    await failure(under, {"method": "no.such.method"}, "unknown_method")


async def wrong_parameters_fail_their_stage(under: Under) -> None:
    """A parameter that is unknown, or of a wrong type, fails the stage with invalid_params."""
    await failure(under, {"method": "do.sleep", "params": {"seconds": "x"}}, "invalid_params")
    await failure(under, {"method": "do.echo", "params": {"dat": 1}}, "invalid_params")


async def failure(under: Under, command: Json, kind: str) -> None:
    """Check that a command fails.

    :raises Deviation: it does not, or with another error
    """
    manager = under.manager
    if not manager.connections:
        await manager.connect()
    task = manager.task(command)
    await manager.push(task)
    report = await manager.end(task)
    demand(report["state"] == "failed", f"the stage is reported as {report['state']!r}")
    error = report["error"]
    demand(error["type"] == kind, f"the type of the error is {error['type']!r} instead of {kind!r}")
    demand(bool(error.get("message")), "the error has no message")


async def a_stage_ends_at_its_timeout(under: Under) -> None:
    """A stage past its max_timeout is reported as failed with stage_timeout."""
    await failure(under, sleep(60, max_timeout=0.3), "stage_timeout")


async def a_run_ends_at_its_timeout(under: Under) -> None:
    """A stage past the exec_seconds of its run is reported as failed with exec_timeout."""
    manager = under.manager
    await manager.connect()
    task = manager.task(sleep(60), exec_seconds=0.3)
    await manager.push(task)
    error = (await manager.end(task))["error"]
    demand(error["type"] == "exec_timeout", f"the type of the error is {error['type']!r}")


async def a_lost_acknowledgement_is_asked_for_again(under: Under) -> None:
    """A report is repeated, unchanged, after a reconnect that names its lease in `holding`."""
    manager = under.manager
    await under.works()
    manager.held.add("manager.write_stage")
    task = manager.task(echo("once"))
    await manager.push(task)
    first = await manager.end(task)
    manager.held.clear()
    await manager.cut()
    again = await manager.end(task, 2)
    demand(again == first, "the report has changed")
    connect = await manager.connect(2)
    held = [lease["id"] for lease in connect.get("holding", [])]
    demand(task["id"] in held, "`holding` of the reconnect lacks a lease with an unknown report")
    demand(connect["id"] == (await manager.connect(1))["id"], "its id has changed")


async def it_reconnects_before_the_grace_is_over(under: Under) -> None:
    """After a cut it connects again within the reconnect grace, and goes on with its work."""
    manager = under.manager
    await under.works()
    task = manager.task(sleep(1.5 * GRACE_SECONDS))
    await under.started(task)
    await manager.cut()
    grace = GRACE_SECONDS * max(1.0, manager.seconds / 10)  # a machine that needs more patience
    await manager.until(lambda: manager.of("manager.connect")[1:], "reconnected", grace)
    report = await manager.end(task)
    demand(report["state"] == "finished", f"the stage is reported as {report['state']!r}")


async def a_repeated_assignment_runs_once(under: Under) -> None:
    """An executor.run that arrives again, during or after the work, changes nothing."""
    manager = under.manager
    await under.works()
    task = manager.task(echo(1))
    await manager.push(task, task)
    await manager.end(task)
    await manager.push(task)
    await manager.never(lambda: manager.ends(task)[1:], "run a task twice", SHORT)


async def a_revoked_lease_is_dropped(under: Under) -> None:
    """After executor.revoke nothing more is reported for the lease, and its slot is free."""
    manager = under.manager
    await under.works()
    task = manager.task(sleep(60))
    await under.started(task)
    await manager.revoke(task)
    await under.runs_on()
    await drops(under, task)


async def drops(under: Under, task: Json) -> None:
    """Check that a task is neither held nor reported any more.

    :raises Deviation: it is
    """
    manager = under.manager
    since = len(manager.sent)
    await manager.until(
        lambda: [one for one in manager.sent[since:] if one.method == "manager.ping"][1:],
        "sent two pings",
    )
    demand(not held(manager, task, since), "it names a lease that has ended in `holding`")
    demand(not manager.ends(task), "it has reported a lease that has ended")


async def a_revoke_may_come_before_its_assignment(under: Under) -> None:
    """An assignment that was revoked before it arrives does not begin."""
    manager = under.manager
    await under.works()
    task = manager.task(echo(1))
    await manager.revoke(task)
    await manager.push(task)
    await manager.never(lambda: manager.ends(task), "run a revoked task", SHORT)


async def a_stale_lease_ends_the_task(under: Under) -> None:
    """After stale_lease the task is dropped: its next command does not begin."""
    manager = under.manager
    await under.works()
    task = manager.task(echo(1), echo(2))
    manager.acks[(task["id"], 0)] = "stale_lease"
    await manager.push(task)
    await manager.end(task)
    await manager.never(lambda: manager.ends(task)[1:], "gone on with a stale lease", SHORT)
    await under.runs_on()


async def an_expelled_executor_begins_anew(under: Under) -> None:
    """After 404 to a ping it drops its work and connects with an empty `holding`."""
    manager = under.manager
    await under.works()
    task = manager.task(sleep(60))
    await under.started(task)
    manager.errors["manager.ping"] = {"code": 404, "message": "unknown executor"}
    await manager.until(lambda: manager.of("manager.connect")[1:], "reconnected after 404")
    manager.errors.clear()
    holding = (await manager.connect(2)).get("holding")
    demand(not holding, "it names leases in `holding` after it was expelled")
    await under.runs_on()
    await drops(under, task)


async def a_manager_without_a_database_is_asked_again(under: Under) -> None:
    """A report that is answered with 503 is repeated."""
    manager = under.manager
    await under.works()
    manager.errors["manager.write_stage"] = {"code": 503, "message": "unavailable"}
    task = manager.task(echo(1))
    await manager.push(task)
    await manager.end(task)
    manager.errors.clear()
    await manager.end(task, 2)


async def what_it_does_not_know_is_ignored(under: Under) -> None:
    """Unknown notifications, fields and answers change nothing."""
    manager = under.manager
    await under.works()
    await manager.notify("executor.something_new", {"a": 1})
    await manager.send({"jsonrpc": "2.0", "id": 999_999, "result": {}})
    task = manager.task(echo("same"), a_new_field={"a": 1})
    await manager.push(task)
    demand((await manager.end(task))["result"] == "same", "the result has changed")


async def a_silent_manager_is_left(under: Under) -> None:
    """A request without an answer for two ping intervals ends the connection."""
    manager = under.manager
    await under.works()
    manager.held.add("manager.ping")
    await manager.until(
        lambda: manager.of("manager.connect")[1:],
        "closed a connection without answers and reconnected",
        manager.seconds + 2 * PING_SECONDS,
    )
    manager.held.clear()
    await under.runs_on()


async def nothing_begins_after_the_process_stood_still(under: Under) -> None:
    """After a standstill a ping is sent and answered before anything begins."""
    manager = under.manager
    await under.works()
    under.process.send_signal(19)  # SIGSTOP
    manager.held |= {"manager.ping", "manager.connect"}
    task = manager.task(echo("late"))
    await manager.push(task)
    await manager.never(lambda: manager.ends(task), "run while it was stopped", LEASE_SECONDS)
    under.process.send_signal(18)  # SIGCONT
    await manager.never(
        lambda: manager.ends(task), "begun a stage although no manager has answered", SHORT
    )
    manager.held.clear()
    await manager.cut()
    await manager.end(task)


async def it_leaves_in_good_order(under: Under) -> None:
    """On SIGTERM the running stage ends, the rest is released, and it signs off and exits."""
    manager = under.manager
    await under.works()
    task = manager.task(sleep(4.0), echo("next"))
    await under.started(task)
    under.stop()
    first = await manager.end(task)
    demand_begun(first)
    second = await manager.end(task, 2)
    demand(second["state"] == "released", f"the next stage is reported as {second['state']!r}")
    await manager.until(lambda: manager.of("manager.suspend_executor"), "signed off")
    await under.ended()


async def a_next_command_without_room_is_asked_for_again(under: Under) -> None:
    """After `again` the report is repeated, unchanged, and the next command begins."""
    manager = under.manager
    await under.works()
    task = manager.task(echo(1), echo("[0]"))
    manager.acks[(task["id"], 0)] = "again"
    await manager.push(task)
    first = await manager.end(task)
    manager.acks.clear()
    await manager.until(
        lambda: [one for one in manager.ends(task) if one["stage"] == 1],
        "run the next command after `again`",
    )
    repeated = [one for one in manager.ends(task) if one["stage"] == 0]
    demand(all(one == first for one in repeated), "the report has changed")


async def filled_parameters_are_not_filled_again(under: Under) -> None:
    """What looks like a template in the parameters is plain text."""
    manager = under.manager
    await under.works()
    task = manager.task(echo({"$raw": "[kws.x]"}), echo("[0]"), kws={"x": 1})
    await manager.push(task)
    for number in (1, 2):
        result = (await manager.end(task, number))["result"]
        demand(result == "[kws.x]", f"the result is {result!r}")


FILL_CASES = cases(
    Level.CORE,
    a_next_command_without_room_is_asked_for_again,
    filled_parameters_are_not_filled_again,
    fill=True,
)
CASES: tuple[Case, ...] = FILL_CASES + cases(
    Level.CORE,
    connects_first,
    pings_and_names_what_it_holds,
    reports_with_the_whole_token,
    waits_for_the_acknowledgement,
    a_failure_is_an_execution_error,
    an_unknown_method_fails_its_stage,
    wrong_parameters_fail_their_stage,
    a_stage_ends_at_its_timeout,
    a_run_ends_at_its_timeout,
    a_lost_acknowledgement_is_asked_for_again,
    it_reconnects_before_the_grace_is_over,
    a_repeated_assignment_runs_once,
    a_revoked_lease_is_dropped,
    a_revoke_may_come_before_its_assignment,
    a_stale_lease_ends_the_task,
    an_expelled_executor_begins_anew,
    a_manager_without_a_database_is_asked_again,
    what_it_does_not_know_is_ignored,
    a_silent_manager_is_left,
    nothing_begins_after_the_process_stood_still,
    it_leaves_in_good_order,
)
