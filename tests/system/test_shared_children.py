"""Tasks that many parents wait for at once, over two managers."""

import asyncio
import random

from kaiju_tasks import Client
from tests.support.postgres import Postgres
from tests.support.wait import wait_until
from tests.system.fleet import PATIENT, Fleet, command, task

SHARED = [f"shared-{i}" for i in range(6)]
DEADLOCKS = "SELECT deadlocks, xact_commit FROM pg_stat_database WHERE datname = current_database()"
CLIENTS, ROUNDS = 6, 8


async def test_parents_made_together_lock_the_tasks_they_name_in_one_order(
    team: Fleet, postgres_server: Postgres, postgres_dsn: str
) -> None:
    team.settings = PATIENT
    managers = [await team.manager(), await team.manager()]
    clients = [team.client(managers[i % 2]) for i in range(CLIENTS)]
    await clients[0].tasks.m_create([task(id, command("x"), delay=3600) for id in SHARED])

    async def parents(client: Client, dice: random.Random) -> None:
        for _ in range(ROUNDS):
            hooks = [
                {"method": "_TASKS_", "params": {"ids": dice.sample(SHARED, 2)}} for _ in range(4)
            ]
            await client.tasks.m_create([{"commands": [hook]} for hook in hooks])

    await asyncio.gather(*(parents(c, random.Random(i)) for i, c in enumerate(clients)))
    waiting = await clients[0].tasks.count({"status": "WAITING", "status_reason": "tasks"})
    assert waiting["count"] == CLIENTS * ROUNDS * 4
    await clients[0].tasks.m_cancel({"id": SHARED})

    async def none_waits() -> bool:
        left: int = (await clients[0].tasks.count({"status": "WAITING"}))["count"]
        return left == 0

    await wait_until(none_waits, "every parent has ended")
    for manager in managers:
        manager.process.close()  # a connection reports what it counted when it ends
    ((deadlocks, commits),) = postgres_server.query(DEADLOCKS, dsn=postgres_dsn)
    assert commits > CLIENTS * ROUNDS
    assert deadlocks == 0
