"""Tasks that wait for tasks while managers and executors die: each ends once, with everything."""

import asyncio
import time

from kaiju_tasks import Client
from tests.system.churn import Churn, all_ended, fill
from tests.system.fleet import APP, Fleet, Json, call_all, command, ended, task

PARENTS = 12
LARGE = 1_000
CHURN_SECONDS = 8.0
DRAIN_SECONDS = 90.0
FEW, MANY = 250, 1_000


async def test_parents_end_once_with_the_results_of_all_children_while_everybody_dies(
    team: Fleet,
) -> None:
    churn = await Churn.begin(team, managers=3, executors=3, seed=11, concurrency=16)
    counts = {f"p{n}": 20 + 30 * n // (PARENTS - 1) for n in range(PARENTS)} | {"large": LARGE}
    parents = [parent(id, count) for id, count in counts.items()]
    filling = asyncio.create_task(fill(churn.clients, parents, 0.0))
    await churn.go_on(CHURN_SECONDS)
    await filling
    client = churn.clients[0]
    await all_ended(client, len(counts) + sum(counts.values()), DRAIN_SECONDS)
    for id, count in counts.items():
        done = await client.tasks.get(id)
        assert done["status"] == "FINISHED", done
        assert told(done) == [(f"{id}.{n}", "FINISHED", [n]) for n in range(count)]
        assert [run["status"] for run in await client.tasks.runs(id)] == ["FINISHED"]
        children = [("tasks.runs", {"id": f"{id}.{n}"}) for n in range(count)]
        for runs in await call_all(client, children):
            assert [run["status"] for run in runs] == ["FINISHED"]


async def test_many_children_cost_no_more_each_than_few(team: Fleet) -> None:
    manager = await team.manager()
    await team.executor(manager, concurrency=64)
    client = team.client(manager)
    await seconds_each(client, "warm", 50)
    few, many = await seconds_each(client, "few", FEW), await seconds_each(client, "many", MANY)
    print(f"{MANY} children take {many / few:.2f} times as long each as {FEW} do")
    assert many / few < 4


async def seconds_each(client: Client, id: str, count: int) -> float:
    """How long the children of a parent take, by the number of them."""
    began = time.monotonic()
    await client.tasks.create(parent(id, count))
    done = await ended(client, id)
    assert len(told(done)) == count
    return (time.monotonic() - began) / count


def parent(id: str, count: int) -> Json:
    """A task that waits for so many others."""
    child = {
        "id": f"{id}.[index]",
        "app_name": APP,
        "kws": {"n": "[item]"},
        "commands": [command("echo", data="[kws.n]")],
    }
    return task(id, command("_TASKS_", foreach=list(range(count)), task=child))


def told(done: Json) -> list[tuple[str, str, object]]:
    """What the result of the last stage tells of the children."""
    return [(one["id"], one["status"], one["result"]) for one in done["result"][-1]]
