"""Applies pauses: holds queued tasks when a pause begins and releases them when it ends.

A task is also checked against the pauses when it is queued and, with the newest pauses, when it
is acquired. This module adds two things: tasks that are already queued are held together when a
pause begins, and the tasks that a pause held continue when it ends.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from kaiju_tasks.errors import Conflict, NotFound, QuotaExceeded, TooManyRequests, Unavailable
from kaiju_tasks.lifecycle import (
    OWNER,
    GateOpened,
    PauseBegan,
    Pauses,
    gate_pause,
    is_over,
    pause_gate,
)
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.store_clock import StoreClock
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.recorded import is_recorded
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store.base import Condition, Store, StoreUnavailable, Transaction
from kaiju_tasks.types import AuditRecord, Pause, TaskStatus

log = logging.getLogger(__name__)

T = TypeVar("T")

COLUMNS = {"app_name": "app_name", "group": "group", "group_id": "group_id", "owner": "user_id"}
"""The columns that the fields of a pause restrict."""
PAUSES_MAX = 4000
WIDE_PAUSES_MAX = 1000
"""The most pauses that name no stream: every task that is queued is compared with all of them, and
with those of its own stream."""
RETRY_SECONDS = 0.5
LOOK_SECONDS = 5.0
"""The clock may have been set meanwhile."""
MARGIN_SECONDS = 0.01
"""The estimate of the store's clock may be a little ahead."""


class PauseBook:
    """Keeps the pauses up to date, and begins and ends them on time.

    :param on_change: called when this manager has changed the pauses
    :param batch_rows: maximum number of tasks in a transaction
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
        self._problems: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._loop = Loop(
            "updating pauses",
            wait=self._until_change,
            work=self._turn,
            retry_seconds=RETRY_SECONDS,
        )

    async def start(self) -> None:
        """Read the pauses and start the loop.

        :raises StoreUnavailable: the database cannot be reached
        """
        try:
            await self._committer.transact(self._read)
        except Unavailable as error:
            raise StoreUnavailable(str(error)) from error
        self._wake.set()
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    # -- operator actions ------------------------------------------------------------------

    async def add(self, pause: Pause, audit: AuditRecord, owner: str | None = None) -> None:
        """Add a pause. Acquisitions that begin after the return take no task that it holds.
        It replaces a pause of the same id that is over.

        :param owner: the principal that adds it; None if it has no name
        :raises Conflict: another pause has this id
        :raises QuotaExceeded: the principal has too many pauses
        :raises TooManyRequests: there are too many pauses
        """

        async def work(tx: Transaction) -> Written[None]:
            known = {one.id: one for one in await tx.pauses()}
            old = known.get(pause.id)
            others = [one for one in known.values() if one.id != pause.id]
            _check_room(pause, others)
            if owner is not None and (old is None or is_over(old, tx.now)):
                lasting = [one for one in others if not is_over(one, tx.now)]
                await self._check_quota(tx, owner, lasting)
            if old is not None and is_over(old, tx.now):
                await tx.delete_pause(old.id)
            if not await tx.put_pause(pause) and pause not in await tx.pauses():
                message = f"a pause with the id {pause.id!r} already exists"
                raise Conflict(message, field="id", id=pause.id)
            await tx.add_audit([audit])
            return Written(None, [])

        await self._change(work)

    async def _check_quota(self, tx: Transaction, owner: str, known: Iterable[Pause]) -> None:
        """:raises QuotaExceeded: the principal has too many pauses"""
        most = self._committer.accounts.most_pauses(await tx.principal(owner))
        used = _added_by(owner, known)
        if most and used >= most:
            raise QuotaExceeded(
                f"the principal {owner!r:.100} may have {most} pauses and has {used}: remove some",
                quota="pauses",
                limit=most,
                used=used,
            )

    def use(self, owner: str) -> tuple[float, float] | None:
        """The most pauses that a principal may have, and how many it has; None without a limit."""
        most = self._committer.accounts.pauses_of(owner)
        return (most, _added_by(owner, self._pauses)) if most else None

    async def remove(self, pause_id: str, audit: AuditRecord) -> None:
        """Remove a pause. The tasks that it held continue.

        :raises NotFound: no such pause
        """

        async def work(tx: Transaction) -> Written[bool]:
            found = await tx.delete_pause(pause_id)
            if found:
                await tx.add_audit([audit])
            return Written(found, [])

        if not await self._change(work) and not await is_recorded(self._store, audit):
            raise NotFound(f"there is no pause {pause_id!r}", id=pause_id)

    async def _change(self, work: Callable[[Transaction], Awaitable[Written[T]]]) -> T:
        value = await self._committer.transact(work)
        await self._committer.transact(self._read)
        self._on_change()
        self._wake.set()
        return value

    # -- calls of the other modules ------------------------------------------------------------

    async def refresh(self, tx: Transaction) -> None:
        """Reread the pauses if they have changed. Call it after `lock_ready`."""
        if tx.pauses_revision != self._pauses.revision:
            await self._read(tx)
            self._wake.set()

    def changed(self) -> None:
        """Reread the pauses: another manager has changed them, or may have."""
        self._reload = True
        self._wake.set()

    def seen(self, held: frozenset[str]) -> None:
        """:param held: the gates of pauses that hold tasks, from the store"""
        self._held = held
        if self._ended(held):
            self._wake.set()

    def next_change(self) -> float | None:
        """The next time at which a pause begins or ends, in UNIX seconds; None if there is none."""
        return self._pauses.next_change(self._clock.now())

    def at_rest(self, held: frozenset[str]) -> bool:
        """Whether the loop has applied all pauses: it has no task left to hold or to release.

        :param held: the gates of pauses that hold tasks, from the store
        """
        now = self._clock.now()
        active = {pause.id for pause in self._pauses if self._pauses.active(pause.id, now)}
        rests = not self._reload and self._began == active and not self._ended(held)
        if not rests:
            self._held = held
            self._wake.set()
        return rests

    @property
    def _pauses(self) -> Pauses:
        return self._committer.states.pauses

    async def _read(self, tx: Transaction) -> Written[None]:
        pauses = self._committer.states.pauses = await tx.pauses()
        problems = pauses.problems()
        for pause_id, problem in sorted(problems.items() - self._problems.items()):
            log.error("the pause %s cannot be applied and holds nothing: %s", pause_id, problem)
        self._problems = problems
        return Written(None, [])

    def _ended(self, gates: Iterable[str]) -> list[str]:
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
        self._reload = False  # reset first, so that a change during the read causes another read
        try:
            await self._committer.transact(self._read)
        except BaseException:
            self._reload = True
            raise

    def _seconds_left(self) -> float | None:
        now = self._clock.now()
        change = self._pauses.next_change(now)
        return (
            None if change is None else min(max(0.0, change - now) + MARGIN_SECONDS, LOOK_SECONDS)
        )

    async def _turn(self) -> None:
        """Hold the queued tasks of pauses that have begun, once for each, and release the tasks
        of pauses that have ended."""
        if self._reload:
            await self._reread()
        now = self._clock.now()
        active = {pause.id: pause for pause in self._pauses if self._pauses.active(pause.id, now)}
        ended = self._began - active.keys()
        for pause_id in sorted(active.keys() - self._began):
            await self._hold(active[pause_id])
            self._began.add(pause_id)
        to_open = {*map(pause_gate, ended), *self._ended(self._held)}
        for gate in sorted(to_open):
            while await self._open(gate):
                pass
        self._began -= ended
        self._held -= to_open

    async def _hold(self, pause: Pause) -> None:
        """Each manager does this when it knows the pause: its acquisitions that do not know it are
        under way then, and are waited for."""
        statuses = [str(TaskStatus.QUEUED)]
        if pause.stop_running:
            await self._committer.settle()
            statuses.append(str(TaskStatus.EXECUTED))
        conditions = [Condition("status", "in", statuses)]
        for field, column in COLUMNS.items():
            value = getattr(pause, field)
            if value is not None:
                conditions.append(Condition(column, "eq", value))
        event = PauseBegan(recall=pause.stop_running)
        async for ids in self._store.ids(conditions, ALL_SIGHT, self._batch_rows):
            await self._committer.apply_all([(task_id, event) for task_id in ids])

    async def _open(self, gate: str) -> int:
        """Release a batch of tasks. Returns the number of released tasks."""
        event = GateOpened(gate=gate)

        async def work(tx: Transaction) -> Written[int]:
            gated = await tx.lock_gated({gate: self._batch_rows})
            rows = gated[gate].rows if gate in gated else []
            changes = await self._committer.advance_rows(tx, rows, event)
            return Written(sum(change.step.row.gate != gate for change in changes), changes)

        return await self._committer.transact(work)


def _check_room(pause: Pause, others: Sequence[Pause]) -> None:
    """:raises TooManyRequests: there are too many pauses"""
    wide = [one for one in others if one.app_name is None]
    if len(others) >= PAUSES_MAX:
        raise TooManyRequests(
            f"there are {PAUSES_MAX} pauses already: remove some", limit=PAUSES_MAX
        )
    if pause.app_name is None and len(wide) >= WIDE_PAUSES_MAX:
        raise TooManyRequests(
            f"there are {WIDE_PAUSES_MAX} pauses without a stream already: remove some, or name "
            "the stream",
            field="app_name",
            limit=WIDE_PAUSES_MAX,
        )


def _added_by(owner: str, pauses: Iterable[Pause]) -> int:
    """How many pauses a principal has added, without those of disabled principals."""
    return sum(one.author == owner and not one.id.startswith(OWNER) for one in pauses)
