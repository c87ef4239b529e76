"""Large results, with the executor for Node and with that of the library."""

from typing import Any

import pytest

from tests.support.node import FETCHER, find_node
from tests.support.processes import ROOT, Processes, RunningProcess
from tests.support.wait import wait_until
from tests.system.fleet import Fleet, ManagerProcess, command, ended, history, outcomes

SAMPLES = "kaiju_tasks.samples:executor"
PROGRAM = ROOT / "examples" / "executors" / "node" / "executor.mjs"
LARGE = 1024 * 1024 - 1024
RESULTS = 15
PATIENCE_SECONDS = 120.0
Json = dict[str, Any]


def start_node(processes: Processes, *managers: ManagerProcess) -> RunningProcess:
    """Start the executor for Node."""
    with FETCHER.alone():
        node = find_node()
    urls = ",".join(manager.url for manager in managers)
    return processes.start([*node.with_websocket, str(PROGRAM)], "node", {"KAIJU_URL": urls})


async def active(fleet: Fleet, manager: ManagerProcess, number: int) -> None:
    """Wait until so many executors are connected."""
    client = fleet.client(manager)

    async def there() -> bool:
        found = await client.executors.list()
        return sum(one["status"] == "ACTIVE" for one in found) >= number

    await wait_until(there, f"{number} executors are connected", PATIENCE_SECONDS)


def task(id: str, *commands: Json, **fields: Any) -> Json:
    return {"id": id, "commands": list(commands), **fields}


@pytest.mark.parametrize("program", ["library", "node"])
async def test_all_results_that_a_run_may_have_get_through(
    fleet: Fleet, processes: Processes, program: str
) -> None:
    """They are read by index and by name, after a hook, so that all of them are sent at once."""
    fleet.commands = SAMPLES
    manager = await fleet.manager()
    if program == "node":
        start_node(processes, manager)
        await active(fleet, manager, 1)
    else:
        await fleet.executor(manager)
    client = fleet.client(manager)
    large = [{**command("do.echo", data="[kws.x]"), "name": f"r{n}"} for n in range(RESULTS)]
    read = command(
        "do.echo", data=[[f"[!x:len:[{n}]]", f"[!x:len:[r{n}]]"] for n in range(RESULTS)]
    )
    await client.tasks.create(
        task("large", *large, {"method": "_MESSAGE_"}, read, kws={"x": "x" * (LARGE - 2_000)})
    )
    await client.tasks.message("large", None)
    done = await ended(client, "large", PATIENCE_SECONDS)
    assert done["status"] == "FINISHED", done["error"]
    size = LARGE - 2_000
    assert done["result"][-1] == [[size, size]] * RESULTS
    stages = outcomes(await history(client, done))
    assert stages == ["FINISHED"] * len(stages), "it was given back"


@pytest.mark.parametrize("program", ["library", "node"])
async def test_more_results_than_a_run_may_have_are_an_error(
    fleet: Fleet, processes: Processes, program: str
) -> None:
    fleet.commands = SAMPLES
    manager = await fleet.manager()
    if program == "node":
        start_node(processes, manager)
        await active(fleet, manager, 1)
    else:
        await fleet.executor(manager)
    client = fleet.client(manager)
    large = [command("do.echo", data="[kws.x]")] * 20
    await client.tasks.create(task("large", *large, kws={"x": "x" * (LARGE - 2_000)}))
    done = await ended(client, "large", PATIENCE_SECONDS)
    assert (done["status"], done["stage"]) == ("FAILED", 16)
    assert done["error"]["type"] == "result_too_large"
    assert "the results of the run would exceed 16777216 bytes" in done["error"]["message"]
