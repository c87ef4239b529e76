"""One SQLite in memory that all managers share, each through a connection that may fail."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from functools import partial
from random import Random
from typing import Any

from kaiju_tasks.lifecycle import Row, Step
from kaiju_tasks.store import ExecutorRow, Store, StoreUnavailable, TransactionConflict
from kaiju_tasks.store.base import Gated
from kaiju_tasks.store.clock import SteadyClock
from kaiju_tasks.store.open import make_store
from kaiju_tasks.store.presumed import Presumed
from tests.simulation.late import LateCommit, LateCommits, Locks
from tests.simulation.loop import Process, SimLoop
from tests.simulation.trace import EPOCH, Trace, span

Committed = Callable[["StoreLine", list[Step], list[ExecutorRow]], None]
Heard = Callable[[frozenset[str]], None]
Received = Callable[[bytes], None]

NOT_CALLED_BY_MANAGERS = {"open", "close"}
OTHERWISE = {"wake", "send", "write_presumed"}
CALLS = sorted(
    name
    for name, method in vars(Store).items()
    if inspect.iscoroutinefunction(method) and name not in NOT_CALLED_BY_MANAGERS | OTHERWISE
)
"""Methods of a store that go to the database and come back, each on its own."""

OWN = frozenset(method.__name__ for method in (Store.work_summary, Store.ping, Store.manager_seen))
"""Calls that a manager makes for itself; it need not take a client's for the database's health."""


RENEWALS = frozenset(method.__name__ for method in (Store.ping, Store.shorten_lease))
"""Calls that lock an executor's row."""

NOT_LATE = frozenset({"take_signals", "put_pause", "delete_pause"})
"""What a late commit cannot do: it would find other rows when it is committed."""

SILENT_SECONDS = 4.0, 7.0
"""How long a store waits for an answer that does not come, as on PostgreSQL."""

WRITES = frozenset(
    {
        "add_audit",
        "drop_children",
        "put_children",
        "save_slots",
        "signal",
        "unclaim",
    }
)
"""Writes of a transaction that nobody else runs into, as they lock no row of their own."""


class Faults:
    """How often a connection to the database misbehaves; all zero when the world is calm."""

    def __init__(self) -> None:
        self.conflict = self.refused = self.unknown = self.late = self.slow = self.silent = 0.0
        self.lost_wake = 0.0


class SetClock(SteadyClock):
    """A clock that says when it has taken over a step."""

    applied: Callable[[float], None]

    def apply(self, step: float) -> None:
        super().apply(step)
        self.applied(step)


class Database:
    """The shared store, and the wake-ups between managers (LISTEN/NOTIFY).

    :param committed: called with what each committed transaction wrote
    :ivar ahead: the seconds by which its clock was set in all
    :ivar stepped: called after times have moved, with the step of the clock in seconds
    """

    def __init__(self, loop: SimLoop, random: Random, trace: Trace) -> None:
        self.ahead = 0.0
        self.stepped: Callable[[float], None] = lambda step: None
        clock = SetClock(lambda: EPOCH + loop.now + self.ahead, lambda: loop.now)
        clock.applied = lambda step: self.stepped(step)
        self.store: Store = make_store("sqlite://:memory:", clock=clock, inline=True)
        self.random = random
        self.trace = trace
        self.faults = Faults()
        self.committed: Committed = lambda line, steps, executors: None
        self.listeners: dict[StoreLine, tuple[Heard, Received]] = {}
        self.late = LateCommits(self.store, random, trace)

    def line(self, process: Process) -> "StoreLine":
        """A manager's own connection."""
        return StoreLine(self, process)


class StoreLine:
    """A Store as one manager sees it: slow, cut, in doubt whether it has committed.

    :ivar cut: nothing gets through
    :ivar failed_at: when a duty of this manager last saw the database fail, virtual seconds
    :ivar saw_close: when it had shortened the lease of an executor whose connection it saw close,
        by executor id and session
    """

    def __init__(self, database: Database, process: Process) -> None:
        self._database = database
        self._store = database.store
        self._loop = _loop()
        self.process = process
        self.cut = False
        self.parallel = False
        self.failed_at = float("-inf")
        self.saw_close: dict[tuple[str, str], float] = {}
        self.clock = database.store.clock
        for name in CALLS:
            setattr(self, name, self._call(name))

    def _call(self, name: str) -> Callable[..., Any]:
        inner = getattr(self._store, name)
        own = name in OWN

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._reach(own=own)
            if name in RENEWALS:
                await self._database.late.executors_free(_executors_of(name, args))
            answer = await inner(*args, **kwargs)
            await self._delay()
            if self._dice(self._database.faults.silent):
                await self._silence("its answer was lost", own=own)
            if name == Store.shorten_lease.__name__:
                self.saw_close[args[0], args[1]] = self._loop.now
            return answer

        return call

    @property
    def clock_revision(self) -> int:
        return self._store.clock_revision

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
        if self._dice(self._database.faults.silent):
            await self._silence("it did not arrive", own=own)

    async def _silence(self, why: str, *, own: bool = True, unknown: bool = False) -> None:
        """A statement that is never answered, until the store leaves its connection."""
        await asyncio.sleep(span(self._database.random, *SILENT_SECONDS))
        self._fail(f"the connection was silent: {why}", own=own, unknown=unknown)

    def _fail(self, text: str, *, own: bool = True, unknown: bool = False) -> None:
        if own:
            self.failed_at = self._loop.now
        self._database.trace(self.process.name, f"database: {text}")
        raise StoreUnavailable(text, unknown=unknown)

    def _dice(self, chance: float) -> bool:
        return chance > 0 and self._database.random.random() < chance

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        database, faults = self._database, self._database.faults
        await self._reach()
        await database.late.waited()
        doubt = self._dice(faults.unknown)
        late = self._dice(faults.late)
        async with self._store.transaction() as inner:
            watched = WatchedTransaction(inner, database.late)
            yield watched
            if self._dice(faults.conflict):
                raise TransactionConflict("could not serialise")
            if late and watched.may_be_late:
                commit = LateCommit(watched.locks, watched.calls)
                as_now = copy(self)  # what it decides, it decides before it loses the database
                done = partial(database.committed, as_now, watched.steps, watched.executors)
                database.late.begin(commit, self.process.name, done)
                self._fail("the connection broke at the commit", unknown=True)
            if doubt and self._dice(0.5):
                self._fail("the connection broke before the commit", unknown=True)
        database.committed(self, watched.steps, watched.executors)
        await self._delay()
        if self._dice(faults.silent):
            await self._silence("its COMMIT was not answered", unknown=True)
        if doubt or self.cut:
            self._fail("the connection broke after the commit", unknown=True)

    async def write_presumed(self, presumed: Presumed) -> bool:
        database, faults = self._database, self._database.faults
        await self._reach()
        steps = presumed.inserted + presumed.saved
        if database.late.stop(presumed) or self._dice(faults.conflict):
            return False
        if self._dice(faults.late):
            as_now = copy(self)  # what it decides, it decides before it loses the database
            done = partial(database.committed, as_now, steps, [])
            database.late.arrive(presumed, self.process.name, done)
            self._fail("the connection broke, and the statement is on its way", unknown=True)
        doubt = self._dice(faults.unknown)
        if doubt and self._dice(0.5):
            self._fail("the connection broke before the statement arrived", unknown=True)
        if not await self._store.write_presumed(presumed):
            return False
        database.committed(self, steps, [])
        await self._delay()
        if self._dice(faults.silent):
            await self._silence("its statement was not answered", unknown=True)
        if doubt or self.cut:
            self._fail("the connection broke after the statement", unknown=True)
        return True

    async def wake(self, topics: Iterable[str]) -> None:
        await self._reach(own=False)
        woken = frozenset(topics)
        for line, (heard, _) in self._others():
            line.later(heard, woken)

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
    """A transaction that remembers what was locked and written, and meets late commits."""

    def __init__(self, inner: Any, late: LateCommits) -> None:
        self._inner = inner
        self._late = late
        self._prompt = False
        self.locks = Locks()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.steps: list[Step] = []
        self.executors: list[ExecutorRow] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in NOT_LATE:
            self._prompt = True
        if name not in WRITES:
            return method

        async def write(*args: Any) -> Any:
            self.calls.append((name, args))
            return await method(*args)

        return write

    @property
    def may_be_late(self) -> bool:
        """Whether it has written anything, and nothing that depends on when it is committed."""
        return bool(self.calls) and not self._prompt

    # -- locks --------------------------------------------------------------------------------

    async def lock(self, ids: Iterable[str]) -> dict[str, Row]:
        rows: dict[str, Row] = await self._inner.lock(ids)
        self._late.wait_for("tasks", rows)
        self.locks.tasks |= rows.keys()
        return rows

    async def lock_leased(self, executor_id: str) -> list[Row]:
        rows: list[Row] = await self._inner.lock_leased(executor_id)
        self._late.wait_for("tasks", [row.id for row in rows])
        return self._take(rows)

    async def lock_due(self, limit: int) -> list[Row]:
        return self._take(self._passed_by(await self._inner.lock_due(limit)))

    async def lock_ready(
        self,
        app_name: str,
        limit: int,
        *,
        executor_id: str,
        session: str,
        ready: int = 1,
        gates: Sequence[str] = (),
    ) -> list[Row] | None:
        self._late.wait_for("executors", [executor_id])
        self.locks.shared.add(executor_id)
        rows = await self._inner.lock_ready(
            app_name, limit, executor_id=executor_id, session=session, ready=ready, gates=gates
        )
        return None if rows is None else self._take(self._passed_by(rows))

    async def hold_sessions(self, sessions: Mapping[str, str]) -> set[str]:
        held: set[str] = await self._inner.hold_sessions(sessions)
        held -= self._late.locked("executors")
        self.locks.shared |= held
        return held

    async def lock_gated(self, wanted: Mapping[str, int]) -> dict[str, Gated]:
        gated: dict[str, Gated] = await self._inner.lock_gated(wanted)
        for one in gated.values():
            free = self._passed_by(one.rows)
            one.passed_over |= len(free) < len(one.rows)
            one.rows = self._take(free)
        return gated

    async def lock_slots(self, keys: Iterable[str]) -> dict[str, int]:
        slots: dict[str, int] = await self._inner.lock_slots(keys)
        self._late.wait_for("slots", slots)
        self.locks.slots |= slots.keys()
        return slots

    async def lock_executor(self, executor_id: str) -> ExecutorRow | None:
        executor: ExecutorRow | None = await self._inner.lock_executor(executor_id)
        if executor is not None:
            self._take_executor(executor_id)
        return executor

    async def lock_expired(
        self, limit: int, sessions: Collection[str] | None = None
    ) -> list[ExecutorRow]:
        locked = self._late.locked("executors") | self._late.locked("shared")
        expired = await self._inner.lock_expired(limit, sessions)
        found = [one for one in expired if one.id not in locked]
        self.locks.executors |= {one.id for one in found}
        return found

    def _take(self, rows: list[Row]) -> list[Row]:
        self.locks.tasks |= {row.id for row in rows}
        return rows

    def _passed_by(self, rows: list[Row]) -> list[Row]:
        locked = self._late.locked("tasks")
        return [row for row in rows if row.id not in locked]

    def _take_executor(self, executor_id: str) -> None:
        self._late.wait_for("executors", [executor_id])
        self._late.wait_for("shared", [executor_id])
        self.locks.executors.add(executor_id)

    # -- writes -------------------------------------------------------------------------------

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        self._late.wait_for("inserted", [step.row.id for step in steps])
        self._claim(step.claim for step in steps)
        self.calls.append(("insert", (steps,)))
        taken: set[str] = await self._inner.insert(steps)
        new = [step for step in steps if step.row.id not in taken]
        self.locks.inserted |= {step.row.id for step in new}
        self.steps += new
        return taken

    async def save(self, steps: Sequence[Step]) -> None:
        self._claim(step.claim for step in steps)
        self.calls.append(("save", (steps,)))
        await self._inner.save(steps)
        self.steps += [step for step in steps if step.changed]

    async def claim(self, wanted: Mapping[str, str]) -> dict[str, str]:
        self._claim(wanted)
        held: dict[str, str] = await self._inner.claim(wanted)
        free = {key: task_id for key, task_id in wanted.items() if key not in held}
        self.calls.append(("claim", (free,)))
        return held

    def _claim(self, keys: Iterable[str | None]) -> None:
        wanted = {key for key in keys if key}
        self._late.wait_for("claims", wanted)
        self.locks.claims |= wanted

    async def put_executor(self, executor: ExecutorRow) -> None:
        self._take_executor(executor.id)
        self.calls.append(("put_executor", (copy(executor),)))
        await self._inner.put_executor(executor)
        self.executors.append(executor)


def _executors_of(name: str, args: tuple[Any, ...]) -> list[str]:
    if name == "shorten_lease":
        return [args[0]]
    return [ping.executor_id for ping in args[0]]


def _loop() -> SimLoop:
    loop = asyncio.get_event_loop()
    assert isinstance(loop, SimLoop)
    return loop
