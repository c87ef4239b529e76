"""A manager whose database goes away and comes back."""

import resource
from pathlib import Path

import aiohttp
import asyncpg

from kaiju_tasks import Client
from kaiju_tasks.errors import KaijuError
from tests.support.postgres import PostgresServer
from tests.support.processes import Processes
from tests.support.wait import wait_until


async def test_a_manager_without_its_database_says_so_and_heals(
    processes: Processes, own_postgres_server: PostgresServer
) -> None:
    own_postgres_server.create_database("tasks")
    process = processes.kaiju("serve", "--port", "0", "--db", own_postgres_server.dsn("tasks"))
    url = (await process.logged(r"^kaiju-tasks \S+ at (\S+) "))[1]
    async with aiohttp.ClientSession() as session, Client(url) as client:

        async def status(path: str) -> int:
            async with session.get(f"{url}{path}") as response:
                return response.status

        async def ready() -> bool:
            return await status("/readyz") == 200

        async def not_ready() -> bool:
            return await status("/readyz") == 503

        await client.tasks.create({"id": "kept", "commands": [{"method": "do.echo"}]})
        own_postgres_server.stop("immediate")
        await wait_until(not_ready, "it is not ready")
        assert await status("/healthz") == 200
        [outcome] = await client.batch([("tasks.get", {"id": "kept"})])
        assert isinstance(outcome, KaijuError)
        assert outcome.code == 503
        own_postgres_server.start()
        await wait_until(ready, "it is ready")
        assert (await client.tasks.get("kept"))["id"] == "kept"
    process.terminate()
    assert await process.ended() == 0
    assert "Traceback" not in process.log


SOON = {"KAIJU_PING_INTERVAL": "0.5"}
UNWRITABLE = "the manager cannot write to the database: "


class Health:
    """The health pages of a manager."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(self, path: str) -> tuple[int, object]:
        async with self._session.get(f"{self._url}{path}") as response:
            return response.status, await response.json()

    async def until_ready(self) -> None:
        async def ready() -> bool:
            return await self("/readyz") == (200, {"ready": True})

        await wait_until(ready, "it is ready")

    async def until_unwritable(self, reason: str) -> None:
        """:param reason: why it cannot write"""
        answer = {"ready": False, "reason": UNWRITABLE + reason}

        async def unwritable() -> bool:
            return await self("/readyz") == (503, answer)

        await wait_until(unwritable, "it is not ready, because it cannot write")
        status, _ = await self("/healthz")
        assert status == 200


async def test_a_manager_whose_disk_is_full_is_not_ready(
    processes: Processes, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.db"
    process = processes.kaiju("serve", "--port", "0", "--db", f"sqlite:///{file}", env=SOON)
    url = (await process.logged(r"^kaiju-tasks \S+ at (\S+) "))[1]
    async with aiohttp.ClientSession() as session:
        health = Health(session, url)
        await health.until_ready()
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        wal_bytes = file.with_name("tasks.db-wal").stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (wal_bytes, hard))
        await health.until_unwritable("the database file cannot be used: disk I/O error")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await health.until_ready()


async def test_a_manager_whose_database_is_read_only_is_not_ready(
    processes: Processes, own_postgres_server: PostgresServer
) -> None:
    own_postgres_server.create_database("tasks")
    dsn = own_postgres_server.dsn("tasks")
    process = processes.kaiju("serve", "--port", "0", "--db", dsn, env=SOON)
    url = (await process.logged(r"^kaiju-tasks \S+ at (\S+) "))[1]
    async with aiohttp.ClientSession() as session:
        health = Health(session, url)
        await health.until_ready()
        await read_only(own_postgres_server, "on")
        await health.until_unwritable("the database is read-only")
        await read_only(own_postgres_server, "off")
        await health.until_ready()


async def read_only(server: PostgresServer, value: str) -> None:
    """Make the database read-only, or writable again, for new connections, and end the others."""
    connection = await asyncpg.connect(server.dsn("postgres"))
    try:
        await connection.execute(
            f"ALTER DATABASE tasks SET default_transaction_read_only = {value}"
        )
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tasks'"
        )
    finally:
        await connection.close()
