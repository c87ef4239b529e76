"""Pauses as a manager keeps them: known to every transaction, begun and ended on time.

Whether a pause holds a task is decided when the task comes to stand in its stream and, by the
newest pauses, when it is acquired. What this duty adds is that tasks that stand there already are
held at once and not one by one, and that those which a pause held go on when it is over.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from kaiju_tasks.errors import Conflict, NotFound
from kaiju_tasks.lifecycle import GateOpened, PauseBegan, Pauses, gate_pause, pause_gate
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.store_clock import StoreClock
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.store.base import Condition, Store, Transaction
from kaiju_tasks.types import AuditRecord, Pause, TaskStatus

T = TypeVar("T")

RETRY_SECONDS = 0.5
MARGIN_SECONDS = 0.01
"""The loop's idea of the store's clock may be a little early."""


class PauseBook:
    """Begins and ends pauses.

    :param on_change: called when the pauses have changed
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        clock: StoreClock,
        *,
        on_change: Callable[[], None],
        batch_rows: int,
    ) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._on_change = on_change
        self._batch_rows = batch_rows
        self._reload = False
        self._held: frozenset[str] = frozenset()
        self._began: set[str] = set()
        self._wake = asyncio.Event()
        self._loop = Loop(
            "beginning and ending pauses",
            wait=self._until_change,
            work=self._turn,
            retry_seconds=RETRY_SECONDS,
        )

    async def start(self) -> None:
        await self._committer.transact(self._read)
        self._wake.set()
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    # -- what operators do ---------------------------------------------------------------

    async def add(self, pause: Pause, audit: AuditRecord) -> None:
        """Add a pause; no acquisition that begins when this has returned takes what it holds.

        :raises Conflict: there is another one of this id
        """

        async def work(tx: Transaction) -> Written[None]:
            if not await tx.put_pause(pause) and pause not in await tx.pauses():
                raise Conflict(f"there is a pause {pause.id!r} already", field="id", id=pause.id)
            await tx.add_audit([audit])
            return Written(None, [])

        await self._change(work)

    async def remove(self, pause_id: str, audit: AuditRecord) -> None:
        """End a pause: what it held goes on.

        :raises NotFound: no such pause
        """

        async def work(tx: Transaction) -> Written[bool]:
            found = await tx.delete_pause(pause_id)
            if found:
                await tx.add_audit([audit])
            return Written(found, [])

        if not await self._change(work):
            raise NotFound(f"there is no pause {pause_id!r}", id=pause_id)

    async def _change(self, work: Callable[[Transaction], Awaitable[Written[T]]]) -> T:
        value = await self._committer.transact(work)
        await self._committer.transact(self._read)
        self._on_change()
        self._wake.set()
        return value

    # -- what the other duties ask and report ------------------------------------------------

    async def refresh(self, tx: Transaction) -> None:
        """After `lock_ready`: know the pauses as they stand in this transaction."""
        if tx.pauses_revision != self._pauses.revision:
            await self._read(tx)
            self._wake.set()

    def changed(self) -> None:
        """Another manager has changed the pauses, or may have."""
        self._reload = True
        self._wake.set()

    def seen(self, held: frozenset[str]) -> None:
        """Gates of pauses at which tasks stand, as the store says."""
        self._held = held
        if self._over(held):
            self._wake.set()

    def next_change(self) -> float | None:
        """When a pause next begins or ends by itself, UNIX seconds."""
        return self._pauses.next_change(self._clock.now())

    def at_rest(self, held: frozenset[str]) -> bool:
        """Whether all that pauses hold is held, and all that they no longer hold goes on.

        :param held: gates of pauses at which tasks stand, as the store says
        """
        now = self._clock.now()
        active = {pause.id for pause in self._pauses if self._pauses.active(pause.id, now)}
        rests = not self._reload and self._began == active and not self._over(held)
        if not rests:
            self._held = held
            self._wake.set()
        return rests

    @property
    def _pauses(self) -> Pauses:
        return self._committer.states.pauses

    async def _read(self, tx: Transaction) -> Written[None]:
        self._committer.states.pauses = await tx.pauses()
        return Written(None, [])

    def _over(self, gates: Iterable[str]) -> list[str]:
        now = self._clock.now()
        pauses = self._pauses
        return [gate for gate in gates if not pauses.active(gate_pause(gate) or "", now)]

    # -- the loop ----------------------------------------------------------------------------

    async def _until_change(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds_left()):
                await self._wake.wait()
        self._wake.clear()

    async def _reread(self) -> None:
        self._reload = False  # before the look: what changes meanwhile is looked at again
        try:
            await self._committer.transact(self._read)
        except BaseException:
            self._reload = True
            raise

    def _seconds_left(self) -> float | None:
        now = self._clock.now()
        change = self._pauses.next_change(now)
        return None if change is None else max(0.0, change - now) + MARGIN_SECONDS

    async def _turn(self) -> None:
        """Hold what stands in streams already, once for each beginning of a pause; let go on
        what stands at gates of pauses that hold no more."""
        if self._reload:
            await self._reread()
        now = self._clock.now()
        active = {pause.id: pause for pause in self._pauses if self._pauses.active(pause.id, now)}
        ended = self._began - active.keys()
        for pause_id in sorted(active.keys() - self._began):
            await self._hold(active[pause_id])
            self._began.add(pause_id)
        over = {*map(pause_gate, ended), *self._over(self._held)}
        for gate in sorted(over):
            while await self._open(gate):
                pass
        self._began -= ended
        self._held -= over

    async def _hold(self, pause: Pause) -> None:
        statuses = [str(TaskStatus.QUEUED)]
        if pause.stop_running:
            statuses.append(str(TaskStatus.EXECUTED))
        conditions = [Condition("status", "in", statuses)]
        for column in ("app_name", "group", "group_id"):
            value = getattr(pause, column)
            if value is not None:
                conditions.append(Condition(column, "eq", value))
        event = PauseBegan(recall=pause.stop_running)
        async for ids in self._store.ids(conditions, self._batch_rows):
            await self._committer.apply_all([(task_id, event) for task_id in ids])

    async def _open(self, gate: str) -> int:
        """Let a batch go on. Returns how many did."""
        event = GateOpened(gate=gate)

        async def work(tx: Transaction) -> Written[int]:
            gated = await tx.lock_gated({gate: self._batch_rows})
            rows = gated[gate].rows if gate in gated else []
            changes = await self._committer.advance_rows(tx, rows, lambda state: event)
            return Written(sum(change.step.row.gate != gate for change in changes), changes)

        return await self._committer.transact(work)
