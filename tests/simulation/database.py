"""One SQLite in memory that all managers share, each through a connection that may fail."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from kaiju_tasks.lifecycle import Step
from kaiju_tasks.store import ExecutorRow, Store, StoreUnavailable, TransactionConflict
from kaiju_tasks.store.open import make_store
from tests.simulation.loop import Process, SimLoop
from tests.simulation.trace import EPOCH, Trace, span

Committed = Callable[["StoreLine", list[Step], list[ExecutorRow]], None]
Heard = Callable[[frozenset[str]], None]
Received = Callable[[bytes], None]

NOT_CALLED_BY_MANAGERS = {"open", "close"}
OTHERWISE = {"wake", "send"}
CALLS = sorted(
    name
    for name, method in vars(Store).items()
    if inspect.iscoroutinefunction(method) and name not in NOT_CALLED_BY_MANAGERS | OTHERWISE
)
"""Methods of a store that go to the database and come back, each on its own."""

OWN = frozenset(method.__name__ for method in (Store.work_summary, Store.ping, Store.manager_seen))
"""Calls that a manager makes for itself; it need not take a client's for the database's health."""


class Faults:
    """How often a connection to the database misbehaves; all zero when the world is calm."""

    def __init__(self) -> None:
        self.conflict = self.refused = self.unknown = self.slow = 0.0
        self.lost_wake = 0.0


class Database:
    """The shared store, and the wake-ups between managers (LISTEN/NOTIFY).

    :param committed: called with what each committed transaction wrote
    """

    def __init__(self, loop: SimLoop, random: Random, trace: Trace) -> None:
        self.store: Store = make_store(
            "sqlite://:memory:", clock=lambda: EPOCH + loop.now, inline=True
        )
        self.random = random
        self.trace = trace
        self.faults = Faults()
        self.committed: Committed = lambda line, steps, executors: None
        self.listeners: dict[StoreLine, tuple[Heard, Received]] = {}

    def line(self, process: Process) -> "StoreLine":
        """A manager's own connection."""
        return StoreLine(self, process)


class StoreLine:
    """A Store as one manager sees it: slow, cut, in doubt whether it has committed.

    :ivar cut: nothing gets through
    :ivar failed_at: when a duty of this manager last saw the database fail, virtual seconds
    """

    def __init__(self, database: Database, process: Process) -> None:
        self._database = database
        self._store = database.store
        self._loop = _loop()
        self.process = process
        self.cut = False
        self.failed_at = float("-inf")
        for name in CALLS:
            setattr(self, name, self._call(name))

    def _call(self, name: str) -> Callable[..., Any]:
        inner = getattr(self._store, name)
        own = name in OWN

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._reach(own=own)
            answer = await inner(*args, **kwargs)
            await self._delay()
            return answer

        return call

    async def ids(self, *args: Any) -> AsyncIterator[list[str]]:
        """Batches of ids, each read on its own."""
        await self._reach(own=False)
        async for batch in self._store.ids(*args):
            yield batch
            await self._reach(own=False)

    async def _delay(self) -> None:
        database = self._database
        slow = database.random.random() < database.faults.slow
        await asyncio.sleep(span(database.random, 0.0002, 0.5 if slow else 0.003))

    async def _reach(self, *, own: bool = True) -> None:
        await self._delay()
        if self.cut or self._dice(self._database.faults.refused):
            self._fail("the database cannot be reached", own=own)

    def _fail(self, text: str, *, own: bool = True, unknown: bool = False) -> None:
        if own:
            self.failed_at = self._loop.now
        self._database.trace(self.process.name, f"database: {text}")
        raise StoreUnavailable(text, unknown=unknown)

    def _dice(self, chance: float) -> bool:
        return chance > 0 and self._database.random.random() < chance

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        faults = self._database.faults
        await self._reach()
        doubt = self._dice(faults.unknown)
        async with self._store.transaction() as inner:
            watched = WatchedTransaction(inner, self._database)
            yield watched
            if self._dice(faults.conflict):
                raise TransactionConflict("could not serialise")
            if doubt and self._dice(0.5):
                self._fail("the connection broke before the commit", unknown=True)
        self._database.committed(self, watched.steps, watched.executors)
        await self._delay()
        if doubt or self.cut:
            self._fail("the connection broke after the commit", unknown=True)

    async def wake(self, topics: Iterable[str]) -> None:
        await self._reach(own=False)
        told = frozenset(topics)
        for line, (heard, _) in self._others():
            line.later(heard, told)

    async def send(self, messages: Sequence[bytes]) -> None:
        await self._reach(own=False)
        for message in messages:
            for line, (_, received) in self._others():
                line.later(received, message)

    def _others(self) -> list[tuple["StoreLine", tuple[Heard, Received]]]:
        """Who hears what this manager says now."""
        database = self._database
        return [
            (line, ears)
            for line, ears in database.listeners.items()
            if line is not self and not self._dice(database.faults.lost_wake)
        ]

    def later(self, hear: Callable[[Any], None], what: Any) -> None:
        """Hear something after a while."""
        delay = span(self._database.random, 0.0005, 0.05)
        self.process.call_later(delay, self._hear, hear, what)

    def _hear(self, hear: Callable[[Any], None], what: Any) -> None:
        if not self.cut:
            hear(what)

    @asynccontextmanager
    async def listen(self, heard: Heard, received: Received) -> AsyncIterator[None]:
        self._database.listeners[self] = heard, received
        try:
            yield
        finally:
            self._database.listeners.pop(self, None)

    def died(self) -> None:
        """The process is gone, and its connections with it."""
        self._database.listeners.pop(self, None)


class WatchedTransaction:
    """A transaction that remembers what was written."""

    def __init__(self, inner: Any, database: Database) -> None:
        self._inner = inner
        self._database = database
        self.steps: list[Step] = []
        self.executors: list[ExecutorRow] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        taken: set[str] = await self._inner.insert(steps)
        self.steps += [step for step in steps if step.row.id not in taken]
        return taken

    async def save(self, steps: Sequence[Step]) -> None:
        await self._inner.save(steps)
        self.steps += [step for step in steps if step.changed]

    async def put_executor(self, executor: ExecutorRow) -> None:
        await self._inner.put_executor(executor)
        self.executors.append(executor)


def _loop() -> SimLoop:
    loop = asyncio.get_event_loop()
    assert isinstance(loop, SimLoop)
    return loop
