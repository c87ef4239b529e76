"""Executors that die, hang, or take others with them."""

import signal

from tests.system.fleet import (
    Fleet,
    Json,
    command,
    ended,
    has_reason,
    has_status,
    history,
    outcomes,
    task,
)


async def test_a_killed_executor_loses_its_stage_and_no_finished_one_runs_again(
    fleet: Fleet,
) -> None:
    manager = await fleet.manager()
    first = await fleet.executor(manager)
    client = fleet.client(manager)
    trace, holds, gate = fleet.file("trace"), fleet.file("holds"), fleet.file("gate")
    note = command("note", file=trace)
    hold = command("hold", file=holds, gate=gate)
    await client.tasks.create(task("a", note, note, hold, note))
    await holds.has(1)
    first.process.kill()
    second = await fleet.executor(manager)
    await holds.has(2)
    gate.touch()
    done = await ended(client, "a")
    assert (done["status"], done["exit_code"], done["error"]) == ("FINISHED", 0, None)
    job = done["job_id"]
    assert trace.lines == [f"{job}/0", f"{job}/1", f"{job}/3"]
    records = await history(client, done)
    assert outcomes(records) == ["FINISHED", "FINISHED", "LOST", "FINISHED", "FINISHED"]
    assert [r["executor_id"] for r in records] == [first.id] * 3 + [second.id] * 2
    assert [r["rescued"] for r in records] == [False, False, True, False, False]
    [run] = await client.tasks.runs("a")
    assert (run["status"], run["retries"]) == ("FINISHED", 0)
    assert (await client.executors.get(first.id))["status"] == "LOST"


async def test_a_woken_executor_changes_nothing_by_late_reports_and_takes_work_again(
    fleet: Fleet,
) -> None:
    manager = await fleet.manager()
    stopped = await fleet.executor(manager)
    client = fleet.client(manager)
    gate = fleet.file("gate")
    ids = ("cancelled", "elsewhere", "held")
    traces = {id: fleet.file(id) for id in ids}
    after = fleet.file("after")
    for id in ids:
        hold = command("hold", file=traces[id], gate=gate)
        await client.tasks.create(task(id, hold, command("note", file=after)))
    for id in ids:
        await traces[id].has(1)
    stopped.process.pause()
    gate.touch(f".{stopped.process.pid}")  # its stages end as soon as it wakes
    await client.tasks.update("held", {"enabled": False})
    await client.tasks.cancel("cancelled")
    await has_status(client, "held", "QUEUED")
    other = await fleet.executor(manager)
    await traces["elsewhere"].has(2)

    async def seen() -> list[tuple[Json, list[Json]]]:
        found = [await client.tasks.get(id) for id in ids]
        return [(one, await history(client, one)) for one in found]

    before = await seen()
    assert [one["status"] for one, _ in before] == ["FAILED", "EXECUTED", "QUEUED"]
    assert [outcomes(records) for _, records in before] == [["CANCELLED"], ["LOST"], ["LOST"]]
    stopped.process.resume()
    await fleet.connected(manager, stopped)
    await client.executors.drain(other.id)
    await client.tasks.create(task("new", command("note", file=after)))
    new = await ended(client, "new")
    assert [r["executor_id"] for r in await history(client, new)] == [stopped.id]
    assert await seen() == before
    assert after.lines == [f"{new['job_id']}/0"]
    gate.touch()
    assert (await ended(client, "elsewhere"))["result"][0] == "released"
    assert [len(traces[id].lines) for id in ids] == [1, 2, 1]


async def test_a_stage_that_kills_executors_is_quarantined_and_the_others_end_well(
    fleet: Fleet,
) -> None:
    manager = await fleet.manager()
    client = fleet.client(manager)
    for _ in range(4):
        await fleet.executor(manager, concurrency=4)
    deaths, trace, gate = fleet.file("deaths"), fleet.file("trace"), fleet.file("gate")
    others = [f"other-{n}" for n in range(8)]
    for id in others:
        await client.tasks.create(task(id, command("hold", file=trace, gate=gate)))
    await trace.has(len(others))
    await client.tasks.create(task("killer", command("echo"), command("die", file=deaths)))
    await has_reason(client, "killer", "suspect")
    assert (len(deaths.lines), len(fleet.living)) == (2, 2)
    gate.touch()  # the two that live hold others' work; one of them has to get rid of it first
    killer = await ended(client, "killer")
    assert (killer["exit_code"], killer["error"]["type"]) == (130, "executor_lost")
    assert killer["error"]["stage"] == 1
    records = await history(client, killer)
    assert outcomes(records) == ["FINISHED", "LOST", "LOST", "LOST"]
    assert len(deaths.lines) == 3
    killed = [r["executor_id"] for r in records if r["outcome"] == "LOST"]
    assert len(set(killed)) == 3
    for id in others:
        done = await ended(client, id)
        assert done["status"] == "FINISHED", done
        lost_on = {r["executor_id"] for r in await history(client, done) if r["outcome"] == "LOST"}
        # The third time it ran alone: nobody else lost that executor.
        assert lost_on <= set(killed[:2])
    assert len(fleet.living) == 1


async def test_a_retry_of_a_killed_executors_task_counts_no_retry(fleet: Fleet) -> None:
    manager = await fleet.manager()
    first = await fleet.executor(manager)
    client = fleet.client(manager)
    holds, gate = fleet.file("holds"), fleet.file("gate")
    hold = command("hold", file=holds, gate=gate)
    await client.tasks.create(task("a", hold, command("fail", message="no luck"), max_retries=1))
    await holds.has(1)
    first.process.send(signal.SIGKILL)
    gate.touch()
    await fleet.executor(manager)
    done = await ended(client, "a")
    assert (done["status"], done["retries"], done["exit_code"]) == ("FAILED", 1, 1)
    assert outcomes(await history(client, done)) == ["LOST", "FINISHED", "FAILED", "FAILED"]
