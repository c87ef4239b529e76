"""Commits that stand still in PostgreSQL, because a synchronous standby does not answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.support.wait import wait_until

PROBE = "SELECT pg_logical_emit_message(true, 'probe', '')"


class Standby:
    """The standby that a server's commits wait for.

    :param dsn: of the server, for a superuser
    :param connection: to it
    """

    def __init__(self, dsn: str, connection: Any) -> None:
        self._dsn = dsn
        self._connection = connection
        self._one_at_a_time = asyncio.Lock()
        self._probes: set[asyncio.Task[Any]] = set()

    async def stall(self) -> None:
        """Let every commit stand still from now on; its locks stay held."""
        await self._query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await self._query("SELECT pg_reload_conf()")
        await wait_until(self._probe_stalls, "commits stand still")

    async def _probe_stalls(self) -> bool:
        if all(probe.done() for probe in self._probes):
            self._probes.add(asyncio.create_task(self._probe()))
        return await self.stalled() > 0

    async def _probe(self) -> None:
        probe = await asyncpg.connect(self._dsn)
        await probe.execute(PROBE)
        await probe.close()

    async def stalled(self) -> int:
        """How many commits stand still."""
        return await self._count("wait_event = 'SyncRep'")

    async def waiting(self) -> int:
        """How many transactions wait for the locks of others."""
        return await self._count("wait_event_type = 'Lock'")

    async def _count(self, condition: str) -> int:
        text = f"SELECT count(*) FROM pg_stat_activity WHERE {condition}"
        return int(await self._query(text))

    async def _query(self, text: str) -> Any:
        async with self._one_at_a_time:
            return await self._connection.fetchval(text)

    async def answer(self) -> None:
        """Let everything that stands still be committed."""
        await self._query("ALTER SYSTEM RESET synchronous_standby_names")
        await self._query("SELECT pg_reload_conf()")
        await asyncio.gather(*self._probes)


@asynccontextmanager
async def standby(dsn: str) -> AsyncIterator[Standby]:
    """The standby of a test's own server."""
    connection = await asyncpg.connect(dsn)
    try:
        yield Standby(dsn, connection)
    finally:
        await connection.close()
