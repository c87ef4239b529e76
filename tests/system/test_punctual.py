"""What is due starts at its moment, and each fire once."""

import statistics
import time

from tests.support.wait import wait_until
from tests.system.fleet import PATIENT, SECONDS, Fleet, command, ended, history, task

LATE_SECONDS = 0.5
"""The median's bound. An idle machine needs a hundredth of it; finding what is due by
the slow poll takes twice as much."""
FUTURE = 3_000
DUE = 25


async def test_due_tasks_and_timers_start_at_their_moment_beside_thousands_of_future_ones(
    fleet: Fleet,
) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager)
    future = [task(f"future-{n}", command("stamp"), delay=3600 + n) for n in range(FUTURE)]
    for start in range(0, FUTURE, 1000):
        await client.tasks.m_create(future[start : start + 1000])
    begin = time.time() + 2.0
    moments = {f"due-{n}": begin + 0.08 * n for n in range(DUE)}
    timer = {"method": "_TIMER_", "params": {"timer": 0.5}}
    due = [task(id, command("stamp"), next_run=moment) for id, moment in moments.items()]
    timers = [
        task(f"timer-{id}", timer, command("stamp"), next_run=moment)
        for id, moment in moments.items()
    ]
    await client.tasks.m_create(due + timers)
    late, timers_late = [], []
    for id, moment in moments.items():
        [began] = (await ended(client, id))["result"]
        late.append(began - moment)
        done = await ended(client, f"timer-{id}")
        waited, _ = await history(client, done)
        timers_late.append(done["result"][1] - waited["started_at"] - 0.5)
    assert min(*late, *timers_late) >= 0
    assert statistics.median(late) < LATE_SECONDS
    assert statistics.median(timers_late) < LATE_SECONDS
    assert (await client.tasks.count({"status": "IDLE"}))["count"] == FUTURE


async def test_a_task_created_now_starts_now(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager)
    late = []
    for n in range(20):
        created_at = time.time()
        await client.tasks.create(task(f"now-{n}", command("stamp")))
        [began] = (await ended(client, f"now-{n}"))["result"]
        late.append(began - created_at)
    assert statistics.median(late) < LATE_SECONDS


async def test_each_fire_of_a_schedule_happens_once_with_two_managers_up(team: Fleet) -> None:
    team.settings = PATIENT
    managers = [await team.manager(), await team.manager()]
    for manager in managers:
        await team.executor(manager)
    client = team.client(managers[0])
    fires = {id: team.file(id) for id in ("cron", "every")}
    cron = task("cron", command("fire", file=fires["cron"]), cron="* * * * * *")
    every = task("every", command("fire", file=fires["every"]), every=0.5)
    first = {
        id: (await client.tasks.create(data))["next_run"]
        for id, data in (("cron", cron), ("every", every))
    }
    await wait_until(lambda: len(fires["cron"].lines) >= 5, "cron has fired five times", SECONDS)
    for id, step in (("cron", 1.0), ("every", 0.5)):
        await client.tasks.update(id, {"enabled": False})
        runs = [run for run in await client.tasks.runs(id) if run["ended_at"] is not None]
        scheduled = sorted(run["scheduled_at"] for run in runs)
        # A slow machine may miss a fire, and then says so; it never adds or forgets one.
        assert scheduled == [first[id] + step * n for n in range(len(scheduled))]
        done = [run for run in runs if run["status"] == "FINISHED"]
        assert {run["status"] for run in runs} <= {"FINISHED", "MISSED"}
        assert len(done) >= 4
        late = [run["started_at"] - run["scheduled_at"] for run in done]
        assert min(late) >= 0
        assert statistics.median(late) < LATE_SECONDS
        traces = [float(line) for line in fires[id].lines]
        assert len(traces) == len(set(traces))
        assert {run["scheduled_at"] for run in done} <= set(traces)
