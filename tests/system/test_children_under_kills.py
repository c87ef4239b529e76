"""Tasks that wait for tasks while managers and executors die: each ends once, with everything."""

import asyncio

from tests.support.postgres import Postgres
from tests.system.churn import Churn, all_ended, fill
from tests.system.fleet import APP, Fleet, Json, call_all, command, ended, task

PARENTS = 12
LARGE = 1_000
CHURN_SECONDS = 8.0
DRAIN_SECONDS = 90.0
ROWS_READ = "SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables"
"""By connections that have ended."""


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
        assert children_in(done) == [(f"{id}.{n}", "FINISHED", [n]) for n in range(count)]
        assert [run["status"] for run in await client.tasks.runs(id)] == ["FINISHED"]
        children = [("tasks.runs", {"id": f"{id}.{n}"}) for n in range(count)]
        for runs in await call_all(client, children):
            assert [run["status"] for run in runs] == ["FINISHED"]


async def test_the_end_of_a_child_reads_few_of_its_siblings(
    team: Fleet, postgres_server: Postgres, postgres_dsn: str
) -> None:
    manager = await team.manager()
    executor = await team.executor(manager, concurrency=64)
    client = team.client(manager)
    await client.tasks.create(parent("large", LARGE))
    assert len(children_in(await ended(client, "large"))) == LARGE
    for process in (executor.process, manager.process):
        process.terminate()
        await process.ended()
    ((rows,),) = postgres_server.query(ROWS_READ, dsn=postgres_dsn)
    # Whoever looks at all siblings at each end reads half of them at least, on an average.
    assert rows / LARGE < LARGE / 4


def parent(id: str, count: int) -> Json:
    """A task that waits for so many others."""
    child = {
        "id": f"{id}.[index]",
        "app_name": APP,
        "kws": {"n": "[item]"},
        "commands": [command("echo", data="[kws.n]")],
    }
    return task(id, command("_TASKS_", foreach=list(range(count)), task=child))


def children_in(done: Json) -> list[tuple[str, str, object]]:
    """Id, status and results of the children, from the result of the last stage."""
    return [(one["id"], one["status"], one["result"]) for one in done["result"][-1]]
