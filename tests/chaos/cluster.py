"""PostgreSQL servers on two hosts, of which one is the primary; and the network to them."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import asyncpg

from tests.chaos.wire import Wire
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.standby import StandbyServer, can_stand_by
from tests.support.stepped import stepped_database
from tests.support.wait import wait_until

DATABASE = "tasks"
SETTINGS: Mapping[str, str] = {
    "max_connections": "150",
    "fsync": "on",
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
    "wal_keep_size": "64MB",  # a standby that starts finds what it needs
}
LATE_SECONDS = 1.5
NOBODY = "nobody"
"""The name of a standby that there is not."""

Strike = Literal["killed", "stopped", "late"]

OURS = "chaos"
"""The name by which the server knows the connections of the faults."""

_TERMINATE = f"""
SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> '{OURS}' ORDER BY random()) found
"""
_IN_SYNC = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


class Cluster:
    """A primary, and a port for the one that follows it at a failover.

    :param folder: gets the data of the servers
    :ivar primary: the server that takes writes
    :ivar changing: held by whoever changes a server or its settings
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._ports = [free_port(), free_port()]
        self._at = 0
        self._wires = [Wire(port) for port in self._ports]
        self.primary = PostgresServer(None, SETTINGS, self._ports[0], folder)
        self.changing = asyncio.Lock()

    async def open(self) -> None:
        await asyncio.to_thread(self.primary.start)
        await asyncio.to_thread(self.primary.create_database, DATABASE)
        await stepped_database(self.primary.dsn(DATABASE))
        for wire in self._wires:
            await wire.open()

    async def close(self) -> None:
        for wire in self._wires:
            await wire.close()
        await asyncio.to_thread(self.primary.close)

    @property
    def url(self) -> str:
        """The URL for managers, with both hosts."""
        hosts = ",".join(f"127.0.0.1:{wire.port}" for wire in self._wires)
        return f"postgresql://postgres@{hosts}/{DATABASE}"

    @property
    def wire(self) -> Wire:
        """The network between managers and the primary."""
        return self._wires[self._at]

    @property
    def can_fail_over(self) -> bool:
        return can_stand_by(self.primary)

    async def connect(self) -> asyncpg.Connection:
        """Connect as the superuser, past the network. No fault terminates this connection."""
        own = {"application_name": OURS}
        return await asyncpg.connect(self.primary.dsn(DATABASE), timeout=10, server_settings=own)

    async def terminate(self, most: int | None = None) -> None:
        """Terminate backends of managers; default is all."""
        await self.administer(f"{_TERMINATE} LIMIT {most or 'ALL'}")

    async def administer(self, *statements: str) -> None:
        """Run statements as the superuser, past the network. They wait for no standby."""
        connection = await self.connect()
        try:
            for statement in ("SET synchronous_commit = local", *statements):
                await connection.execute(statement)
        finally:
            await connection.close(timeout=10)

    async def revive(self) -> None:
        """Wait until the primary takes connections, and start it if it has ended by itself."""

        async def takes_connections() -> bool:
            if self.primary.has_ended:
                await asyncio.to_thread(self.primary.start_again)
            try:
                await self.administer()
            except (OSError, asyncpg.PostgresError):
                return False
            return True

        await wait_until(takes_connections, "the primary takes connections")

    async def set_clock(self, seconds: float) -> None:
        """Set the clock of the database forward or back."""
        await self.administer(f"UPDATE test_clock SET ahead = ahead + ({seconds})")

    async def wait_for_standby(self, name: str | None) -> None:
        """Let commits wait for a standby of this name; None ends it."""
        setting = "synchronous_standby_names"
        change = f"SET {setting} = '{name}'" if name else f"RESET {setting}"
        await self.administer(f"ALTER SYSTEM {change}", "SELECT pg_reload_conf()")

    async def fail_over(self, how: Strike) -> None:
        """Make a synchronous standby, take the primary away, and promote the standby.

        :param how: `stopped` in good order; `late` promotes first, so that for a moment there are
            two that call themselves primary. The old one can commit nothing then.
        """
        old, at = self.primary, 1 - self._at
        standby = StandbyServer(old, SETTINGS, self._ports[at], self._folder)
        try:
            await asyncio.to_thread(standby.start)
            await self._synchronize(old)
            await self._replace(old, standby, how)
        except BaseException:
            with suppress(OSError, asyncpg.PostgresError):
                await self.wait_for_standby(None)
            await asyncio.to_thread(standby.close)
            raise
        self.primary, self._at = standby, at
        await asyncio.to_thread(old.close)

    async def _synchronize(self, primary: PostgresServer) -> None:
        """From here on, no commit is acknowledged that the standby lacks."""
        await self.wait_for_standby("*")

        async def in_sync() -> bool:
            [(count,)] = await asyncio.to_thread(primary.query, _IN_SYNC)
            return bool(count)

        await wait_until(in_sync, "the standby follows")
        await self.administer("CHECKPOINT")  # the checkpointer has read the setting

    async def _replace(self, old: PostgresServer, new: StandbyServer, how: Strike) -> None:
        match how:
            case "killed":
                await asyncio.to_thread(old.kill)
                await asyncio.to_thread(new.promote)
            case "stopped":
                await asyncio.to_thread(old.stop)
                await asyncio.to_thread(new.promote)
            case "late":
                await asyncio.to_thread(new.promote)
                await asyncio.sleep(LATE_SECONDS)
                await asyncio.to_thread(old.kill)
