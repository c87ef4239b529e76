"""Tasks that carry as many results as a run may have: they end, and others are not behind them."""

from typing import Any

from tests.support.wait import wait_until
from tests.system.fleet import Fleet, command, ended, history, outcomes, task

LARGE_TASKS = 8
RESULTS = 12
RESULT_CHARACTERS = 1024 * 1024 - 100
SMALL_TASKS = 40
PATIENCE_SECONDS = 90.0
"""For 96 MiB to the manager, and back to the executor."""


def large(id: str) -> dict[str, Any]:
    """A task that collects results, and whose stages after a hook read all of them."""
    collect = [command("big", size=RESULT_CHARACTERS)] * RESULTS
    read = [command("size", text=f"[{stage}]") for stage in range(RESULTS)]
    return task(id, *collect, {"method": "_MESSAGE_"}, *read, priority=5)


async def test_tasks_with_large_results_end_and_small_ones_are_not_behind_them(
    fleet: Fleet,
) -> None:
    manager = await fleet.manager()
    executor = await fleet.executor(manager)
    client = fleet.client(manager)
    ids = [f"large-{number}" for number in range(LARGE_TASKS)]
    for id in ids:
        await client.tasks.create(large(id))

    async def all_wait() -> bool:
        found = await client.tasks.count({"status": "WAITING"})
        return bool(found["count"] == LARGE_TASKS)

    await wait_until(all_wait, "all have collected their results", PATIENCE_SECONDS)
    await client.executors.drain(executor.id)  # then there is room for all at once
    for id in ids:
        await client.tasks.message(id, None)
    small = [f"small-{number}" for number in range(SMALL_TASKS)]
    for id in small:
        await client.tasks.create(task(id, command("echo", data=id)))
    await client.executors.resume(executor.id)
    for id in (*small, *ids):
        done = await ended(client, id, PATIENCE_SECONDS)
        assert done["status"] == "FINISHED", done["error"]
        stages = outcomes(await history(client, done))
        assert stages == ["FINISHED"] * len(stages), "it was given back"
        if id in ids:
            assert done["result"][-RESULTS:] == [RESULT_CHARACTERS] * RESULTS
