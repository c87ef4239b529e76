"""The rest of the protocol: refused reports, drains, exclusive runs, orphans, and a soak."""

import asyncio
from functools import partial
from random import Random

from kaiju_tasks.conformance.cases.case import Case, Under, cases, echo, sleep
from kaiju_tasks.conformance.cases.core import SHORT, demand, demand_begun
from kaiju_tasks.conformance.peer import GRACE_SECONDS, LEASE_SECONDS, MAX_RESULT_BYTES, Json
from kaiju_tasks.conformance.report import Level

__all__ = ["CASES"]

SOAK_TASKS, SOAK_CUTS, SOAK_KILLS = 300, 12, 3


async def a_refused_report_does_not_hold_up_the_others(under: Under) -> None:
    """After 413 or -32602 each report is sent alone; the one that is refused alone is failed."""
    manager = under.manager
    await under.works()
    tasks = [manager.task(echo(number)) for number in range(3)]
    poison = tasks[1]["id"]

    def refuse(reports: list[Json]) -> Json | None:
        bad = any(one["id"] == poison and one["state"] == "finished" for one in reports)
        return {"code": -32602, "message": "it cannot be stored"} if bad else None

    manager.refuse = refuse
    await manager.push(*tasks)
    for task in (tasks[0], tasks[2]):
        await manager.end(task)
    await manager.until(
        lambda: [one for one in manager.ends(tasks[1]) if one["state"] == "failed"],
        "reported the stage of a refused report as failed",
    )


async def a_report_that_is_too_large_fails_its_stage(under: Under) -> None:
    """The stage of a report that is refused alone with 413 is failed with result_too_large."""
    manager = under.manager
    await under.works()
    task = manager.task(echo("large"))
    manager.refuse = lambda reports: (
        {"code": 413, "message": "too large"} if reports[0]["state"] == "finished" else None
    )
    await manager.push(task)
    await manager.until(
        lambda: [one for one in manager.ends(task) if one["state"] == "failed"],
        "reported the stage of a refused report as failed",
    )
    kind = manager.ends(task)[-1]["error"]["type"]
    demand(kind == "result_too_large", f"the type of the error is {kind!r}")


async def a_connection_closed_over_a_report_holds_up_no_other(under: Under) -> None:
    """If a report closes the connection with 1009, the others are sent, and it is failed."""
    manager = under.manager
    await under.works()
    tasks = [manager.task(echo(number)) for number in range(3)]
    poison, done = tasks[1]["id"], set[str]()

    def closes(reports: list[Json]) -> int | None:
        if any(one["id"] == poison and one["state"] == "finished" for one in reports):
            return 1009
        done.update(one["id"] for one in reports)
        return None

    manager.closes = closes
    await manager.push(*tasks)
    wanted = {task["id"] for task in tasks}
    await manager.until(lambda: done >= wanted, "reported all tasks, one of them as failed")


async def answers_may_come_in_any_order(under: Under) -> None:
    """An answer is matched by its id: that to a ping may come after that to a later report."""
    manager = under.manager
    await under.works()
    manager.held.add("manager.ping")
    since = len(manager.of("manager.ping"))
    await manager.until(lambda: manager.of("manager.ping")[since:], "sent a ping")
    first, second = manager.task(echo(1), echo("[0]")), manager.task(echo(2))
    await manager.push(first, second)
    await manager.end(first)
    await manager.end(second)
    manager.held.clear()
    for late in reversed(manager.of("manager.ping")[since:]):
        await manager.answer(late)
    await under.runs_on()


async def a_killed_process_begins_anew(under: Under) -> None:
    """After SIGKILL the next process has another id and no leases, and runs what is pushed."""
    manager = under.manager
    await under.works()
    for kill in range(SOAK_KILLS):
        lost = manager.task(sleep(60))
        tasks = [manager.task(echo([kill, number]), echo("[0]")) for number in range(20)]
        await manager.push(lost, *tasks[:10])
        before = manager.of("manager.connect")
        await under.restart()
        params = await manager.connect(len(before) + 1)
        ids = {one.params["id"] for one in before}
        demand(params["id"] not in ids, "its id is that of the killed process")
        demand(not params.get("holding"), "it names leases of the killed process in `holding`")
        again = [{**task, "epoch": task["epoch"] + 1000, "nonce": "again"} for task in tasks]
        await manager.push(*again)
        await manager.until(partial(all_done, under, again), "ended what was pushed again")
        for number, task in enumerate(again):
            results = [one.get("result") for one in manager.ends(task) if one["stage"] == 1]
            demand(results[-1] == [kill, number], f"{task['id']!r} has the results {results!r}")


async def a_lease_replaces_the_one_before_it(under: Under) -> None:
    """A second lease of a task ends the first; of two epochs the lower one does not begin."""
    manager = under.manager
    await under.works()
    first = manager.task(sleep(60))
    await under.started(first)
    second = {**first, "epoch": first["epoch"] + 1000, "nonce": "second", "commands": [echo(2)]}
    await manager.push(second)
    await manager.until(
        lambda: [one for one in manager.ends(first) if one["nonce"] == "second"], "run the second"
    )
    late = {**first, "nonce": "late", "commands": [echo(0)]}
    third = {**second, "epoch": second["epoch"] + 1, "nonce": "third", "commands": [sleep(60)]}
    await under.started(third)
    await manager.push(late)
    await manager.never(
        lambda: [one for one in manager.ends(first) if one["nonce"] in (first["nonce"], "late")],
        "reported a lease that was replaced",
        SHORT,
    )


async def a_drained_executor_takes_no_work_until_it_resumes(under: Under) -> None:
    """executor.drain brings the capacity 0 at once, executor.resume the full one."""
    manager = under.manager
    await under.works()
    capacity = (await manager.connect())["capacity"]
    manager.status = "DRAINING"
    since = len(manager.sent)
    await manager.notify("executor.drain", {"reason": "conformance"})
    await manager.until(lambda: 0 in capacities(under, since), "announced the capacity 0")
    manager.status = "ACTIVE"
    since = len(manager.sent)
    await manager.notify("executor.resume", {})
    await manager.until(lambda: capacity in capacities(under, since), "announced its capacity")
    await under.runs_on()


def capacities(under: Under, since: int) -> list[int]:
    """The capacities in the pings after so many requests."""
    sent = under.manager.sent[since:]
    return [one.params.get("capacity", -1) for one in sent if one.method == "manager.ping"]


async def what_is_pushed_while_it_leaves_is_released(under: Under) -> None:
    """A task that arrives after SIGTERM is released."""
    manager = under.manager
    await under.works()
    task = manager.task(sleep(3.0))
    await under.started(task)
    since = len(manager.sent)
    under.stop()
    await manager.until(lambda: 0 in capacities(under, since), "announced the capacity 0")
    late = manager.task(echo("late"))
    await manager.push(late)
    await manager.until(lambda: manager.ends(late) + manager.ends(task), "reported a stage")
    for report in manager.ends(task):
        demand_begun(report)
    state = (await manager.end(late))["state"]
    demand(state == "released", f"a task that came while it left is reported as {state!r}")


async def an_exclusive_run_stops_before_its_lease_ends(under: Under) -> None:
    """Without a manager, a stage of an exclusive run is stopped and later released."""
    manager = under.manager
    await under.works()
    task = manager.task(sleep(3 * LEASE_SECONDS), exclusive=True)
    other = manager.task(sleep(3 * LEASE_SECONDS))
    await under.started(task)
    await under.started(other)  # what is pushed just before a cut may be lost
    await manager.cut()
    manager.held.add("manager.connect")
    await asyncio.sleep(max(GRACE_SECONDS, LEASE_SECONDS) + 0.5)
    manager.held.clear()
    await manager.cut()
    state = (await manager.end(task))["state"]
    demand(state == "released", f"the stage of an exclusive run is reported as {state!r}")
    state = (await manager.end(other))["state"]
    demand(state == "finished", f"the stage of another run is reported as {state!r}")


async def an_orphan_stops_its_work(under: Under) -> None:
    """Without a manager for orphan_seconds all work is stopped and its reports are discarded."""
    manager = under.manager
    manager.orphan_seconds = 1.5
    await under.works()
    task = manager.task(sleep(60))
    await under.started(task)
    manager.held.add("manager.connect")
    await manager.cut()
    await asyncio.sleep(manager.orphan_seconds + LEASE_SECONDS)
    manager.held.clear()
    await manager.cut()
    connects = len(manager.of("manager.connect"))
    await manager.until(
        lambda: [
            one for one in manager.of("manager.connect")[connects:] if not one.params.get("holding")
        ],
        "connected with an empty `holding` after it was an orphan",
        2 * manager.seconds,
    )
    demand(not manager.ends(task), "it has reported a task that it had to drop")


async def a_large_result_is_refused_by_the_executor(under: Under) -> None:
    """A result above max_result_bytes fails its stage with result_too_large."""
    manager = under.manager
    await manager.connect()
    task = manager.task(echo("x" * (MAX_RESULT_BYTES + 1)))
    await manager.push(task)
    report = await manager.end(task)
    demand(report["state"] == "failed", f"the stage is reported as {report['state']!r}")
    kind = report["error"]["type"]
    demand(kind == "result_too_large", f"the type of the error is {kind!r}")


async def a_condition_skips_its_stage(under: Under) -> None:
    """A stage whose condition does not hold is skipped, and the next one runs."""
    manager = under.manager
    await manager.connect()
    task = manager.task(echo(1), echo(2, condition={"0": {"gt": 1}}), echo(3))
    await manager.push(task)
    await manager.end(task, 3)
    states = [report["state"] for report in manager.ends(task)]
    demand(states == ["finished", "skipped", "finished"], f"the stages are {states!r}")


async def nothing_is_lost_over_broken_connections(under: Under) -> None:
    """While connections break at any moment, each task ends once, with its own result."""
    manager = under.manager
    await under.works()
    dice = Random(1)
    most = (await manager.connect())["capacity"]
    tasks = [manager.task(echo(number), echo([number])) for number in range(SOAK_TASKS)]
    waiting = list(tasks)
    cuts = 0
    while waiting:
        batch, waiting = waiting[:most], waiting[most:]
        for task in batch:
            await manager.push(task)
            if cuts < SOAK_CUTS and dice.random() < 0.1:
                cuts += 1
                await cut(under)
                await manager.push(*batch)  # as often as it likes: each is begun once
        await manager.until(partial(all_done, under, batch), "ended all tasks")
    for number, task in enumerate(tasks):
        results = {str(one.get("result")) for one in manager.ends(task) if one["stage"] == 1}
        demand(results == {str([number])}, f"{task['id']!r} has the results {results}")


async def cut(under: Under) -> None:
    """Break the connection, and wait until the executor has connected again."""
    manager = under.manager
    connects = len(manager.of("manager.connect"))
    await manager.cut()
    await manager.until(lambda: manager.of("manager.connect")[connects:], "reconnected")


def all_done(under: Under, tasks: list[Json]) -> bool:
    """Whether the second stage of each task was reported, under its latest lease."""
    ended = {(one["id"], one["nonce"]) for one in under.manager.reports() if one["stage"] == 1}
    return all((task["id"], task["nonce"]) in ended for task in tasks)


CASES: tuple[Case, ...] = cases(
    Level.FULL,
    a_condition_skips_its_stage,
    a_refused_report_does_not_hold_up_the_others,
    a_report_that_is_too_large_fails_its_stage,
    a_connection_closed_over_a_report_holds_up_no_other,
    answers_may_come_in_any_order,
    a_killed_process_begins_anew,
    a_lease_replaces_the_one_before_it,
    a_drained_executor_takes_no_work_until_it_resumes,
    what_is_pushed_while_it_leaves_is_released,
    an_exclusive_run_stops_before_its_lease_ends,
    an_orphan_stops_its_work,
    a_large_result_is_refused_by_the_executor,
    nothing_is_lost_over_broken_connections,
)
