"""Commits that become visible late: the connection broke, the transaction holds its locks."""

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

from kaiju_tasks.store import Store, TransactionConflict
from kaiju_tasks.store.presumed import VALID_SECONDS, Presumed
from tests.simulation.loop import Process
from tests.simulation.trace import Trace, span

LATE_SECONDS = (0.05, 3.0)
NEVER = 0.2
"""The chance that a transaction is rolled back in the end."""


class Locks:
    """What a transaction has locked.

    :ivar tasks: ids of tasks that exist
    :ivar inserted: ids of tasks that it creates, which nobody else sees
    :ivar executors: ids of executors, for update
    :ivar shared: ids of executors, against updates
    :ivar slots: concurrency keys
    :ivar claims: unique keys
    """

    def __init__(self) -> None:
        self.tasks: set[str] = set()
        self.inserted: set[str] = set()
        self.executors: set[str] = set()
        self.shared: set[str] = set()
        self.slots: set[str] = set()
        self.claims: set[str] = set()


class LateCommit:
    """A transaction whose connection broke at its commit and that goes on in the database.

    :param calls: names and arguments of everything that it writes
    """

    def __init__(self, locks: Locks, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
        self.locks = locks
        self.calls = calls
        self.ended = asyncio.Event()


class LateCommits:
    """The late commits of a database. Others wait for their locks, or skip them."""

    def __init__(self, store: Store, random: Random, trace: Trace) -> None:
        self._store = store
        self._random = random
        self._trace = trace
        self._process = Process("database")
        self._open: list[LateCommit] = []
        self._waits: WeakKeyDictionary[Any, LateCommit] = WeakKeyDictionary()

    def begin(self, late: LateCommit, name: str, committed: Any) -> None:
        """Keep the locks of a transaction, and end it after a while.

        :param committed: called without arguments when it has been committed
        """
        self._open.append(late)
        seconds = span(self._random, *LATE_SECONDS)
        never = self._random.random() < NEVER
        self._trace(name, f"database: a commit in doubt ends in {seconds:.3f} s, never={never}")
        self._process.spawn(self._end(late, seconds, None if never else committed))

    async def _end(self, late: LateCommit, seconds: float, committed: Any) -> None:
        await asyncio.sleep(seconds)
        if committed is not None:
            async with self._store.transaction() as tx:
                await tx.lock([])
                for name, arguments in late.calls:
                    await getattr(tx, name)(*arguments)
            committed()
        self._open.remove(late)
        late.ended.set()

    def arrive(self, presumed: Presumed, name: str, committed: Any) -> None:
        """Let a presumed transaction arrive after its connection broke. Until then, it holds no
        lock.

        :param committed: called without arguments when it has been committed
        """
        late = LateCommit(Locks(), [])
        self._open.append(late)
        seconds = span(self._random, *LATE_SECONDS)
        self._trace(name, f"database: a statement in doubt arrives in {seconds:.3f} s")
        self._process.spawn(self._arrive(late, presumed, seconds, committed))

    async def _arrive(
        self, late: LateCommit, presumed: Presumed, seconds: float, committed: Any
    ) -> None:
        await asyncio.sleep(seconds)
        may_write = seconds < VALID_SECONDS and not self.stop(presumed)
        if may_write and await self._store.write_presumed(presumed):
            committed()
        self._open.remove(late)
        late.ended.set()

    def stop(self, presumed: Presumed) -> bool:
        """Whether a presumed transaction writes nothing, because late commits have locked what it
        would lock."""
        ids = {step.row.id for step in presumed.inserted + presumed.saved}
        if (self.locked("tasks") | self.locked("inserted")) & ids:
            return True
        return not self.locked("executors").isdisjoint(presumed.sessions)

    # -- others -----------------------------------------------------------------------------

    def wait_for(self, kind: str, wanted: Iterable[str]) -> None:
        """Run into the locks of late commits: give up, and wait before the next try."""
        wanted = set(wanted)
        for late in self._open:
            if wanted & getattr(late.locks, kind):
                self._waits[asyncio.current_task()] = late
                raise TransactionConflict("a transaction in doubt has locked it")

    async def waited(self) -> None:
        """Wait for the late commit that the last try of this asyncio task ran into."""
        late = self._waits.pop(asyncio.current_task(), None)
        if late is not None:
            await late.ended.wait()

    async def all_ended(self) -> None:
        """Wait until no commit is in doubt."""
        for late in list(self._open):
            await late.ended.wait()

    async def executors_free(self, ids: Iterable[str]) -> None:
        """Wait until no late commit has locked these executors for an update."""
        wanted = set(ids)
        for late in list(self._open):
            if wanted & late.locks.executors:
                await late.ended.wait()

    def locked(self, kind: str) -> set[str]:
        """What late commits have locked, for those who skip it."""
        return set().union(*(getattr(late.locks, kind) for late in self._open))
