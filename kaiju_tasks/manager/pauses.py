"""Pauses as a manager keeps them: known to every transaction, begun and ended on time.

Whether a pause holds a task is decided when the task comes to stand in its stream and, by the
newest pauses, when it is acquired. What this duty adds is that tasks that stand there already are
held at once and not one by one, and that those which a pause held go on when it is over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from kaiju_tasks.errors import Conflict, NotFound, Unavailable
from kaiju_tasks.lifecycle import GateOpened, PauseBegan, Pauses, gate_pause, pause_gate
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.entries import Change
from kaiju_tasks.store.base import Condition, Store, StoreError, Transaction
from kaiju_tasks.types import AuditRecord, Pause, TaskStatus

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
MARGIN_SECONDS = 0.01
"""The loop's idea of the store's clock may be a little early."""


class PauseBook:
    """Begins and ends pauses.

    :param now_about: the store's clock, or nearly so
    :param on_change: called when the pauses have changed
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        now_about: Callable[[], float],
        *,
        on_change: Callable[[], None],
        batch_rows: int,
    ) -> None:
        self._store = store
        self._committer = committer
        self._now_about = now_about
        self._on_change = on_change
        self._batch_rows = batch_rows
        self._reload = True
        self._held: frozenset[str] = frozenset()
        self._began: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._committer.transact(self._read)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- what operators do ---------------------------------------------------------------

    async def add(self, pause: Pause, audit: AuditRecord) -> None:
        """Add a pause; no acquisition that begins when this has returned takes what it holds.

        :raises Conflict: there is another one of this id
        """

        async def work(tx: Transaction) -> list[Change]:
            if not await tx.put_pause(pause) and pause not in await tx.pauses():
                raise Conflict(f"there is a pause {pause.id!r} already", field="id", id=pause.id)
            await tx.add_audit([audit])
            return []

        await self._change(work)

    async def remove(self, pause_id: str, audit: AuditRecord) -> None:
        """End a pause: what it held goes on.

        :raises NotFound: no such pause
        """
        found = False

        async def work(tx: Transaction) -> list[Change]:
            nonlocal found
            if await tx.delete_pause(pause_id):
                found = True
                await tx.add_audit([audit])
            return []

        await self._change(work)
        if not found:
            raise NotFound(f"there is no pause {pause_id!r}", id=pause_id)

    async def _change(self, work: Callable[[Transaction], Awaitable[list[Change]]]) -> None:
        await self._committer.transact(work)
        await self._committer.transact(self._read)
        self._on_change()
        self._wake.set()

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

    @property
    def _pauses(self) -> Pauses:
        return self._committer.states.pauses

    async def _read(self, tx: Transaction) -> list[Change]:
        self._committer.states.pauses = await tx.pauses()
        return []

    def _over(self, gates: Iterable[str]) -> list[str]:
        now = self._now_about()
        pauses = self._pauses
        return [gate for gate in gates if not pauses.active(gate_pause(gate) or "", now)]

    # -- the loop ----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                if self._reload:
                    self._reload = False
                    await self._committer.transact(self._read)
                await self._turn()
                left = self._seconds_left()
            except (Unavailable, StoreError) as exc:
                log.warning("pauses wait for the database: %s", exc)
                left = RETRY_SECONDS
            except Exception:
                log.exception("pauses could not be begun or ended; trying again")
                left = RETRY_SECONDS
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _seconds_left(self) -> float | None:
        now = self._now_about()
        change = self._pauses.next_change(now)
        return None if change is None else max(0.0, change - now) + MARGIN_SECONDS

    async def _turn(self) -> None:
        """Hold what stands in streams already, once for each beginning of a pause; let go on
        what stands at gates of pauses that hold no more."""
        now = self._now_about()
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
        opened = 0

        async def work(tx: Transaction) -> list[Change]:
            nonlocal opened
            gated = await tx.lock_gated({gate: self._batch_rows})
            rows = gated[gate].rows if gate in gated else []
            changes = await self._committer.advance_rows(tx, rows, lambda state: event)
            opened = sum(change.step.row.gate != gate for change in changes)
            return changes

        event = GateOpened(gate=gate)
        await self._committer.transact(work)
        return opened
