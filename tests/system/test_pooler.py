"""Managers whose database is behind a connection pooler in transaction mode."""

from pathlib import Path

from tests.support.pooler import pooler
from tests.support.processes import Processes
from tests.system.fleet import Fleet, command, ended, history, outcomes, task

TASKS = 30


async def test_managers_behind_a_pooler_run_tasks_and_say_what_is_missing(
    processes: Processes, postgres_dsn: str, tmp_path: Path
) -> None:
    async with pooler(postgres_dsn) as url:
        fleet = Fleet(processes, url, tmp_path)
        try:
            managers = [await fleet.manager() for _ in range(2)]
            await fleet.executor(managers[0])
            clients = [fleet.client(manager) for manager in managers]
            trace = fleet.file("trace")
            limit = {"key": "one", "limit": 2}
            for number in range(TASKS):
                work = command("note", file=trace)
                made = task(f"t{number}", work, work, concurrency=limit)
                await clients[number % 2].tasks.create(made)
            for number in range(TASKS):
                done = await ended(clients[0], f"t{number}")
                assert outcomes(await history(clients[0], done)) == ["FINISHED"] * 2
            assert len(trace.lines) == len(set(trace.lines)) == 2 * TASKS
            for manager in managers:
                assert manager.process.log.count("LISTEN does not work") == 1
        finally:
            await fleet.close()
