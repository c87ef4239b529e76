"""Keeps connections to PostgreSQL for reuse. No wait is unbounded."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import TypeVar

from kaiju_tasks.store.base import StoreError, StoreUnavailable
from kaiju_tasks.store.postgres.bounds import Bounds
from kaiju_tasks.store.postgres.connection import Connection
from kaiju_tasks.store.postgres.connector import OURS, Connector
from kaiju_tasks.store.postgres.leftovers import Leftovers
from kaiju_tasks.store.postgres.watch import Watch

log = logging.getLogger(__name__)

MAX_AGE_SECONDS = 3600.0
"""A server process collects plans and caches: after this time, a new one takes its place."""
LOG_AGAIN_SECONDS = 30.0
RESERVED = 2
"""The connections that reads for clients leave to the manager's own reads and writes."""

T = TypeVar("T")

_WORKING = """
SELECT application_name FROM pg_stat_activity
WHERE application_name = ANY ($1::text[])
AND coalesce(state, '') NOT IN ('idle', 'idle in transaction', 'idle in transaction (aborted)')
AND coalesce(wait_event, '') <> 'ClientRead'
"""
"""A server that has prepared a statement and waits for its parameters is `active`, too."""


class Pool:
    """Up to `size` connections.

    When one of them is left because it is silent, broken or read-only, the unused ones are left,
    too: whatever happened to the one has mostly happened to all, and each would cost a wait.

    :param size: maximum number of connections, beside those of `single`
    """

    def __init__(self, connector: Connector, size: int, bounds: Bounds) -> None:
        self._connector = connector
        self._size = size
        self._bounds = bounds
        self._time = asyncio.get_running_loop().time
        self._slots = asyncio.Semaphore(size)
        self._answers = asyncio.Semaphore(max(1, size - RESERVED))
        self._unused: list[Connection] = []
        self._used: set[Connection] = set()
        self._busy = 0
        self._recoveries: set[asyncio.Task[None]] = set()
        self._logged: tuple[str, float] | None = None
        self._closed = False
        self._leftovers = Leftovers(OURS, bounds, self._time)
        self._watch = Watch(self._working, bounds)
        self._keeper = asyncio.create_task(self._keep())

    @asynccontextmanager
    async def connection(self, *, keyed: bool = False) -> AsyncIterator[Connection]:
        """A connection of the pool.

        :param keyed: see `Connection.plan`
        :raises StoreUnavailable: there is none
        """
        connection = await self._acquire(keyed)
        try:
            await connection.plan(keyed=keyed)
            yield connection
        finally:
            self._release(connection)

    async def ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something that may be repeated, on one connection, and if that turns out to be broken,
        on another one.

        :raises StoreUnavailable: the other one is broken, too, or there is none
        """
        async with self.connection() as connection:
            try:
                return await question(connection)
            except StoreUnavailable:
                if connection.is_open:
                    raise
        async with self.connection() as connection:
            return await question(connection)

    async def answer(
        self,
        question: Callable[[Connection], Awaitable[T]],
        seconds: float,
        exceeded: Callable[[], Exception],
    ) -> T:
        """Ask for a client: RESERVED connections remain for others, and the question is given up
        after some time. The wait for a connection that works does not count.

        :param exceeded: makes the error that is raised then
        :raises StoreUnavailable: see `ask`
        """

        async def within_budget(connection: Connection) -> T:
            try:
                async with asyncio.timeout(seconds) as budget:
                    return await question(connection)
            except TimeoutError:
                if budget.expired():
                    raise exceeded() from None
                raise

        async with self._answers:
            return await self.ask(within_budget)

    @asynccontextmanager
    async def single(self) -> AsyncIterator[Connection]:
        """A new connection beside the others, on which statements may run without limit."""
        connection = await self._open(answer_seconds=None)
        self._used.add(connection)
        try:
            yield connection
        finally:
            self._used.discard(connection)
            if connection.is_clean:
                await connection.close(self._bounds.probe_seconds)
            else:
                connection.terminate()

    async def close(self) -> None:
        """Close the unused connections, wait a while for the others, then cut them."""
        self._closed = True
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        seconds = self._bounds.close_seconds
        unused, self._unused = self._unused, []
        closing = [asyncio.create_task(one.close(seconds)) for one in unused]
        try:
            async with asyncio.timeout(seconds):
                for _ in range(self._size):
                    await self._slots.acquire()
        except TimeoutError:
            for one in list(self._used):
                one.terminate()
        await asyncio.gather(*closing, *self._recoveries)

    # -- acquire and release -------------------------------------------------------------------

    async def _acquire(self, keyed: bool) -> Connection:
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        await self._wait_for_slot()
        try:
            connection = self._take_unused(keyed)
            self._busy += 1
            connection = connection or await self._open(self._bounds.answer_seconds)
        except BaseException:
            self._free_slot()
            raise
        self._used.add(connection)
        return connection

    async def _wait_for_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        seconds = self._bounds.free_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                f"All {self._size} connections to the database were busy for {seconds:g} s.",
                brief="all connections to the database are busy",
            ) from None

    def _take_unused(self, keyed: bool) -> Connection | None:
        """Take an unused connection, if possible one that is planned for the same. None: open
        another one, so that a few connections are enough for each of both."""
        self._unused = [one for one in self._unused if one.is_open]
        for index in reversed(range(len(self._unused))):
            if self._unused[index].keyed == keyed:
                return self._unused.pop(index)
        full = len(self._unused) + self._busy >= self._size
        return self._unused.pop() if self._unused and full else None

    async def _open(self, answer_seconds: float | None) -> Connection:
        raw, name = await self._connector.open()
        local = self._connector.local_settings
        return Connection(raw, name, self._left, answer_seconds, local)

    def _release(self, connection: Connection) -> None:
        if connection.is_clean or not connection.is_open:
            self._put_back(connection)
        else:  # the caller was cancelled, and must not wait for the database
            recovery = asyncio.create_task(self._recover(connection))
            self._recoveries.add(recovery)
            recovery.add_done_callback(self._recoveries.discard)

    async def _recover(self, connection: Connection) -> None:
        try:
            await connection.recover(self._bounds.probe_seconds)
        finally:
            self._put_back(connection)

    def _put_back(self, connection: Connection) -> None:
        self._used.discard(connection)
        connection.used_at = now = self._time()
        aged = now - connection.opened_at > MAX_AGE_SECONDS
        if self._closed or aged or not connection.is_clean:
            connection.terminate()
        else:
            self._unused.append(connection)
        self._free_slot()

    def _free_slot(self) -> None:
        self._busy -= 1
        self._slots.release()

    # -- silent and broken connections ---------------------------------------------------------

    def _left(self, name: str, reason: str) -> None:
        """A connection was left: leave the unused ones, too."""
        self._leftovers.add(name)
        unused, self._unused = self._unused, []
        for one in unused:
            one.terminate()
        logged, now = self._logged, self._time()
        if logged is None or logged[0] != reason or now - logged[1] > LOG_AGAIN_SECONDS:
            self._logged = reason, now
            log.warning("left a connection to the database, and %d unused: %s", len(unused), reason)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.look_seconds)
            try:
                self._close_long_unused()
                await self._watch.look(self._used)
                if self._leftovers.due:
                    await self._end_leftovers()
            except Exception:
                log.exception("watching the connections to the database failed")

    def _close_long_unused(self) -> None:
        oldest = self._time() - self._bounds.kept_seconds
        for one in [one for one in self._unused if one.used_at < oldest]:
            self._unused.remove(one)
            one.terminate()

    async def _working(self, names: Collection[str]) -> Collection[str]:
        """The names of the connections on whose statements the server works."""
        async with self._brief() as connection:
            found = await connection.fetch(_WORKING, list(names))
            await self._leftovers.end(connection)
        return {name for (name,) in found}

    async def _end_leftovers(self) -> None:
        with contextlib.suppress(StoreError):  # tried again at the next look
            async with self._brief() as connection:
                await self._leftovers.end(connection)

    @asynccontextmanager
    async def _brief(self) -> AsyncIterator[Connection]:
        """A new connection for statements that take no time.

        :raises StoreUnavailable: it cannot be opened, or does not answer
        """
        seconds = self._bounds.probe_seconds
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open(seconds)
                try:
                    yield connection
                finally:
                    connection.terminate()
        except TimeoutError:
            raise StoreUnavailable(f"It did not answer within {seconds:g} s.") from None
