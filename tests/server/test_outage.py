"""A manager whose database goes away and comes back."""

import aiohttp

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
