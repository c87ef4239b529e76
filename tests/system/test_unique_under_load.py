"""Unique keys while many create at once and managers die: one task for each key at a time."""

import asyncio
import itertools
from collections import defaultdict
from typing import Any

import asyncpg

from kaiju_tasks import Client
from kaiju_tasks.errors import Unavailable
from tests.system.churn import Churn, all_ended
from tests.system.fleet import Fleet, Json, call_all, command, task

CALLERS = 24
KEYS = 3
CALLING_SECONDS = 5.0
WORK_SECONDS = 0.5
DRAIN_SECONDS = 90.0

TWICE = """
SELECT d.body::json ->> 'unique_key', array_agg(t.id) FROM tasks t
JOIN definitions d ON d.task_id = t.id
WHERE t.status NOT IN ('FINISHED', 'FAILED') GROUP BY 1 HAVING count(*) > 1
"""
SPANS = """
SELECT d.body::json ->> 'unique_key', r.started_at, r.ended_at FROM runs r
JOIN definitions d ON d.task_id = r.task_id ORDER BY r.started_at
"""


async def test_each_key_has_one_task_at_a_time_however_many_create_at_once(
    team: Fleet, postgres_dsn: str
) -> None:
    churn = await Churn.begin(team, managers=3, executors=2, seed=3)
    until = asyncio.get_running_loop().time() + CALLING_SECONDS
    callers = [asyncio.create_task(create(churn.clients, n, until)) for n in range(CALLERS)]
    connection = await asyncpg.connect(postgres_dsn)
    watching = asyncio.create_task(watch(connection, until))
    for at in (0, 1, 0):
        await churn.restart_manager(at)
    answers = [answer for one in await asyncio.gather(*callers) for answer in one]
    assert await watching == []
    client = churn.clients[2]
    made = {id for id, created in answers if created}
    await all_ended(client, await connection.fetchval("SELECT count(*) FROM tasks"), DRAIN_SECONDS)
    found = await call_all(client, [("tasks.get", {"id": id}) for id in {id for id, _ in answers}])
    assert made <= {one["id"] for one in found}
    assert len(answers) > 2 * len(made) > 2 * KEYS
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for key, started_at, ended_at in await connection.fetch(SPANS):
        spans[key].append((started_at, ended_at))
    assert len(spans) == KEYS
    for one in spans.values():
        # queued_at may be earlier: it is read before the transaction waits for the key.
        assert all(ended <= started for (_, ended), (started, _) in itertools.pairwise(one))
    assert await connection.fetchval("SELECT count(*) FROM claims") == 0
    await connection.close()


async def create(clients: list[Client], n: int, until: float) -> list[tuple[str, bool]]:
    """Create tasks of the keys in turn through every manager. What was answered: id, created."""
    answers: list[tuple[str, bool]] = []
    count = itertools.count()
    while asyncio.get_running_loop().time() < until:
        at = next(count)
        client = clients[(n + at) % len(clients)]
        try:
            answer: Json = await client.tasks.create(keyed(f"{n}-{at}", (n + at) % KEYS))
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            answers.append((answer["id"], answer["created"]))
    return answers


def keyed(id: str, key: int) -> Json:
    return task(id, command("sleep", seconds=WORK_SECONDS), unique={"key": f"k{key}"})


async def watch(connection: Any, until: float) -> list[Any]:
    """Keys that more than one task had at any moment that was looked at."""
    seen: list[Any] = []
    while asyncio.get_running_loop().time() < until:
        seen += await connection.fetch(TWICE)
        await asyncio.sleep(0.02)
    return seen
