"""The executor for Node: large results, and kills of it, of the library's and of managers."""

import os
from random import Random
from typing import Any

import pytest

from tests.support.node import FETCHER, find_node
from tests.support.processes import ROOT, Processes, RunningProcess
from tests.support.wait import wait_until
from tests.system.fleet import PATIENT, Fleet, ManagerProcess, command, ended, history, outcomes

SAMPLES = "kaiju_tasks.samples:executor"
PROGRAM = ROOT / "examples" / "executors" / "node" / "executor.mjs"
LARGE = 1024 * 1024 - 1024
RESULTS = 15
PATIENCE_SECONDS = 120.0
TASKS, KILLS = (int(os.environ.get(name, few)) for name, few in (("TASKS", 150), ("KILLS", 12)))
STAGES = 4
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


async def test_no_result_is_lost_or_wrong_while_both_kinds_and_managers_are_killed(
    team: Fleet, processes: Processes
) -> None:
    """Each stage that began again is accounted for by an attempt that was lost or given back."""
    team.commands = SAMPLES
    team.settings = PATIENT
    managers = [await team.manager() for _ in range(2)]
    python = [team.start_executor(*managers).process for _ in range(2)]
    node = [start_node(processes, *reversed(managers)) for _ in range(2)]
    await active(team, managers[0], 4)
    client = team.client(managers[0], retry_seconds=PATIENCE_SECONDS)
    tasks = [
        task(
            f"t{number}",
            command("do.echo", data=number),
            command("do.sleep", seconds=0.05),
            command("do.echo", data=["[0]", "[id]"]),
            {
                **command("do.echo", data="[2]"),
                "condition": {"0": -1} if number % 2 else {"0": number},
            },
        )
        for number in range(TASKS)
    ]
    for one in tasks:
        await client.tasks.create(one)
    dice = Random(3)
    for kill in range(KILLS):
        kind = kill % 3
        if kind == 0:
            await _kill_manager(team, managers, dice.randrange(2))
        elif kind == 1:
            _killed(python, dice)
            python.append(team.start_executor(*managers).process)
        else:
            _killed(node, dice)
            node.append(start_node(processes, *managers))
    for number in range(TASKS):
        done = await ended(client, f"t{number}", PATIENCE_SECONDS)
        assert done["status"] == "FINISHED", done["error"]
        read = [number, f"t{number}"]
        assert done["result"] == [number, 0.05, read, None if number % 2 else read]
        records = await history(client, done)
        for stage in range(STAGES):
            (*others, last) = outcomes(records, stage)
            assert last in ("FINISHED", "SKIPPED")
            assert set(others) <= {"LOST", "RELEASED"}


async def _kill_manager(team: Fleet, managers: list[ManagerProcess], number: int) -> None:
    managers[number].process.kill()
    managers[number] = await team.again(managers[number])


def _killed(executors: list[RunningProcess], dice: Random) -> None:
    executor = executors.pop(dice.randrange(len(executors)))
    executor.kill()
