"""Commands that block the event loop of their executor."""

from tests.support.wait import wait_until
from tests.system.fleet import Fleet, command, ended, has_status, history, outcomes, task

LEASE_SECONDS = 1.2
SHORT = {"ping_interval": 0.3, "suspend_after_pings": 4, "reconnect_grace": 0.5}


async def test_a_blocked_loop_costs_neither_its_stage_nor_its_neighbours_an_attempt(
    fleet: Fleet,
) -> None:
    fleet.settings = SHORT
    manager = await fleet.manager()
    executor = await fleet.executor(manager)
    client = fleet.client(manager)
    gate, blocked, beside = (fleet.file(name) for name in ("gate", "blocked", "beside"))
    await client.tasks.create(task("beside", command("hold", file=beside, gate=gate)))
    await wait_until(lambda: beside.lines, "the neighbour runs")
    await client.tasks.create(task("blocked", command("block", file=blocked, gate=gate)))
    await executor.process.logged("the event loop has been blocked for .* another thread pings")
    assert "time.sleep(0.01)" in executor.process.log
    began = (await client.executors.get(executor.id))["last_ping"]

    async def outlasts_its_lease() -> bool:
        return (await client.executors.get(executor.id))["last_ping"] > began + 2 * LEASE_SECONDS

    await wait_until(outlasts_its_lease, "the thread has renewed the lease more than once")
    await client.tasks.create(task("later", command("stamp")))
    assert (await client.executors.get(executor.id))["status"] == "ACTIVE"
    assert (await client.tasks.get("later"))["status"] == "QUEUED"  # it takes no work now
    gate.touch()
    for id in ("blocked", "beside", "later"):
        done = await ended(client, id)
        assert done["status"] == "FINISHED", done
        assert outcomes(await history(client, done), stage=0) == ["FINISHED"]
    await executor.process.logged("the event loop was blocked for")


async def test_a_stage_that_blocks_beyond_its_deadline_costs_its_neighbours_nothing(
    fleet: Fleet,
) -> None:
    fleet.settings = SHORT
    manager = await fleet.manager()
    executor = await fleet.executor(manager, kill_grace=0.5)
    client = fleet.client(manager)
    gate, blocked, beside = (fleet.file(name) for name in ("gate", "blocked", "beside"))
    never = fleet.file("never")
    await client.tasks.create(task("beside", command("hold", file=beside, gate=gate)))
    await wait_until(lambda: beside.lines, "the neighbour runs")
    stuck = {**command("block", file=blocked, gate=never), "max_timeout": 1}
    await client.tasks.create(task("blocked", stuck))
    await executor.process.logged("a stage past its deadline blocks the event loop")
    await has_status(client, "blocked", "FAILED")
    assert (await client.tasks.get("blocked"))["error"]["type"] == "stage_timeout"
    gate.touch()
    done = await ended(client, "beside")
    assert done["status"] == "FINISHED", done
    assert outcomes(await history(client, done), stage=0) == ["RELEASED", "FINISHED"]
