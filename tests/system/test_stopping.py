"""SIGTERM: what runs may end, the rest is given back, and nothing counts as lost."""

from tests.support.wait import wait_until
from tests.system.fleet import (
    SECONDS,
    Fleet,
    command,
    ended,
    has_status,
    history,
    outcomes,
    task,
)


async def test_a_stopped_executor_lets_stages_end_that_can_and_gives_the_rest_back(
    fleet: Fleet,
) -> None:
    manager = await fleet.manager()
    first = await fleet.executor(manager, shutdown_grace=3)
    client = fleet.client(manager)
    holds, trace = fleet.file("holds"), fleet.file("trace")
    note = command("note", file=trace)
    soon, never = fleet.file("soon"), fleet.file("never")
    await client.tasks.create(task("ends", command("hold", file=holds, gate=soon), note))
    await client.tasks.create(task("stays", note, command("hold", file=holds, gate=never)))
    await holds.has(2)
    first.process.terminate()

    async def takes_no_more() -> bool:
        return bool((await client.executors.get(first.id))["capacity"] == 0)

    await wait_until(takes_no_more, "the executor takes no more work", SECONDS)
    soon.touch()
    assert await first.process.ended(30) == 0
    await has_status(client, "ends", "QUEUED")
    assert (await client.executors.get(first.id))["status"] == "GONE"
    second = await fleet.executor(manager)
    await holds.has(3)
    never.touch()
    ends, stays = await ended(client, "ends"), await ended(client, "stays")
    assert outcomes(await history(client, ends), stage=0) == ["FINISHED"]
    assert outcomes(await history(client, stays)) == ["FINISHED", "RELEASED", "FINISHED"]
    assert (await history(client, stays))[-1]["executor_id"] == second.id
    assert sorted(trace.lines) == sorted([f"{ends['job_id']}/1", f"{stays['job_id']}/0"])


async def test_being_given_back_counts_as_no_loss(fleet: Fleet) -> None:
    manager = await fleet.manager()
    client = fleet.client(manager)
    holds, gate = fleet.file("holds"), fleet.file("gate")
    await client.tasks.create(task("a", command("hold", file=holds, gate=gate)))
    for count in range(1, 5):
        executor = await fleet.executor(manager, shutdown_grace=0)
        await holds.has(count)
        executor.process.terminate()
        assert await executor.process.ended(30) == 0
        waiting = await has_status(client, "a", "QUEUED")
        assert waiting["status_reason"] is None
    gate.touch()
    await fleet.executor(manager)
    done = await ended(client, "a")
    assert done["status"] == "FINISHED"
    assert outcomes(await history(client, done)) == ["RELEASED"] * 4 + ["FINISHED"]
    assert done["retries"] == 0
