"""Lock, advance, save: every change of a task goes through here, committed in groups.

What arrives while a transaction runs is written together by the next one; nothing waits when
the committer is idle. A caller is answered after the commit, never before, and one caller's error
is never another's.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from kaiju_tasks.errors import Conflict, KaijuError, NotFound, Unavailable
from kaiju_tasks.lifecycle import Event, Row, Step, TaskState, advance
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.writing.claims import held_elsewhere
from kaiju_tasks.manager.writing.consequences import Consequences
from kaiju_tasks.manager.writing.entries import (
    AlreadyExists,
    Change,
    Draft,
    Duplicate,
    Entry,
    EventSource,
    Group,
    resolve_in_doubt,
)
from kaiju_tasks.manager.writing.inserts import Inserts
from kaiju_tasks.manager.writing.slots import Slots
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import (
    Store,
    StoreUnavailable,
    Transaction,
    TransactionConflict,
)
from kaiju_tasks.types import AuditRecord

log = logging.getLogger(__name__)

MAX_CONFLICTS = 20
LOOK_PAST = 4
"""Batches of entries that must wait, past which the queue is not searched."""
BATCH_BYTES = 4 * 1024 * 1024
OUTAGE_PATIENCE_SECONDS = 10.0
OUTAGE_RETRY_SECONDS = 0.1


class Committer:
    """The one writer of tasks in a manager.

    :param publish: called with the changes of each committed transaction
    :param reached: called after each transaction with True, or False when the store is away
    :param lanes: transactions that may run side by side
    """

    def __init__(
        self,
        store: Store,
        dice: Dice,
        settings: Settings,
        *,
        publish: Callable[[list[Change]], None],
        reached: Callable[[bool], None] = lambda ok: None,
        lanes: int = 2,
    ) -> None:
        self._store = store
        self._dice = dice
        self._publish = publish
        self._reached = reached
        self._batch_rows = settings.batch_rows
        self._lanes = lanes
        self._queue: deque[Entry] = deque()
        self._being_written: set[str] = set()
        self._stopping = False
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.states = States()
        self.consequences = Consequences(self.states, dice, settings)
        self._inserts = Inserts(self.states)

    def start(self) -> None:
        self._stopping = False
        self._tasks = [asyncio.create_task(self._lane()) for _ in range(self._lanes)]

    async def stop(self) -> None:
        """Write what is queued, then end; who comes later is refused."""
        self._stopping = True
        self._work.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what callers do -----------------------------------------------------------------

    async def apply(
        self, task_id: str, event: EventSource, *, audit: AuditRecord | None = None
    ) -> Step:
        """Advance one task by one event.

        :param audit: written with it, if it changes the task
        :raises NotFound: no such task
        :raises Conflict: the status does not allow it
        :raises Unavailable: the database cannot be reached
        """
        (outcome,) = await self._submit([(task_id, event, None)], [audit])
        if isinstance(outcome, Step):
            return outcome
        raise outcome

    async def apply_all(
        self, pairs: Sequence[tuple[str, EventSource]], *, audits: Sequence[AuditRecord] = ()
    ) -> list[Step | BaseException]:
        """Advance tasks, each on its own: an error of one is returned in its place.

        :param audits: none, or one for each pair, written with it if it changes the task
        """
        return await self._submit([(task_id, event, None) for task_id, event in pairs], audits)

    async def apply_together(
        self, pairs: Sequence[tuple[str, EventSource]], *, audits: Sequence[AuditRecord]
    ) -> None:
        """Advance tasks in one transaction, all or none; unknown ones are left out.

        :param audits: one for each pair, written with it if it changes the task
        :raises Conflict: a status does not allow it; `id` names the task. Nothing was written
        """
        entries = [Entry(task_id, event, None) for task_id, event in pairs]
        for entry, audit in zip(entries, audits, strict=True):
            entry.audit = audit

        async def work(tx: Transaction) -> list[Change]:
            changes = await self._advance_batch(tx, entries)
            for entry in entries:
                if isinstance(entry.error, KaijuError) and not isinstance(entry.error, NotFound):
                    entry.error.data.setdefault("id", entry.task_id)
                    raise entry.error
            return changes

        await self.transact(work)

    async def create(self, draft: Draft) -> Step:
        """Insert one task.

        :raises AlreadyExists: the id is taken; nothing was written
        :raises Duplicate: another task holds its unique key; nothing was written
        """
        (outcome,) = await self._submit([(draft.definition.id, None, draft)])
        if isinstance(outcome, Step):
            return outcome
        raise outcome

    async def create_all(self, drafts: Sequence[Draft]) -> list[Step | Duplicate]:
        """Insert tasks in one transaction, all or none but for those of which another task holds
        the unique key.

        :raises AlreadyExists: args are the taken ids; nothing was written
        :raises Duplicate: a unique key is held that no other task may hold; nothing was written
        """
        outcomes: list[Step | Duplicate] = []

        async def work(tx: Transaction) -> list[Change]:
            await tx.lock([])
            inserted = await self._inserts.insert(tx, drafts)
            outcomes[:] = [one for one in inserted if not isinstance(one, AlreadyExists)]
            if taken := [one for one in inserted if isinstance(one, AlreadyExists)]:
                raise AlreadyExists(*sorted(str(one) for one in taken))
            for one, draft in zip(outcomes, drafts, strict=True):
                if isinstance(one, Duplicate) and draft.refuses_duplicates:
                    raise one
            changes = [
                Change(one, draft.definition, None)
                for one, draft in zip(outcomes, drafts, strict=True)
                if isinstance(one, Step)
            ]
            await self.save(tx, changes)
            return changes

        await self.transact(work)
        return outcomes

    async def transact(
        self, work: Callable[[Transaction], Awaitable[list[Change]]]
    ) -> list[Change]:
        """Run one transaction of its own, retried whole when it conflicts or the database is
        away for a moment, and publish its changes.

        :raises Unavailable: the database cannot be reached
        """
        conflicts = 0
        patience = asyncio.get_running_loop().time() + OUTAGE_PATIENCE_SECONDS
        while True:
            try:
                async with self._store.transaction() as tx:
                    changes = await work(tx)
                break
            except TransactionConflict:
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    raise Unavailable("too many conflicting transactions: try again") from None
                await asyncio.sleep(0.002 * conflicts * self._dice.fraction())
            except StoreUnavailable as exc:
                self._reached(False)
                if self._stopping or asyncio.get_running_loop().time() > patience:
                    raise Unavailable(f"the database cannot be reached: {exc}") from exc
                await asyncio.sleep(OUTAGE_RETRY_SECONDS)
        self._reached(True)
        try:
            self._published(changes)
        except Exception:  # what is written is written: it must not be written again for this
            log.exception("changes could not be published")
        return changes

    # -- groups --------------------------------------------------------------------------

    async def _submit(
        self,
        items: Sequence[tuple[str, EventSource | None, Draft | None]],
        audits: Sequence[AuditRecord | None] = (),
    ) -> list[Step | BaseException]:
        if not items:
            return []
        if self._stopping:
            raise Unavailable("the manager is stopping")
        group = Group(len(items))
        entries = [Entry(task_id, event, draft, group) for task_id, event, draft in items]
        for entry, audit in zip(entries, audits, strict=False):
            entry.audit = audit
        self._queue.extend(entries)
        self._work.set()
        await group.done
        return [entry.outcome() for entry in entries]

    async def _lane(self) -> None:
        while True:
            await self._work.wait()
            batch = self._take()
            if not batch:
                if self._stopping and not self._queue:
                    return
                self._work.clear()
                continue
            ids = {entry.task_id for entry in batch}
            self._being_written |= ids
            try:
                await self._write(batch)
            except BaseException as exc:
                for entry in batch:
                    self._done(entry, Unavailable("the manager is stopping"))
                if not isinstance(exc, Exception):
                    raise
                log.exception("a batch could not be written")
            finally:
                self._being_written -= ids
                if self._queue or self._stopping:
                    self._work.set()

    def _take(self) -> list[Entry]:
        """Up to a batch of entries, in order: at most one for a task, and none for a task that
        another lane is writing, so that one task's entries are written as they came."""
        queue = self._queue
        batch: dict[str, Entry] = {}
        later: list[Entry] = []
        size = 0
        rows = self._batch_rows
        while queue and len(batch) < rows and len(later) < LOOK_PAST * rows and size < BATCH_BYTES:
            entry = queue.popleft()
            if entry.task_id in batch or entry.task_id in self._being_written:
                later.append(entry)
            else:
                batch[entry.task_id] = entry
                size += entry.size
        queue.extendleft(reversed(later))
        return list(batch.values())

    async def _write(self, batch: list[Entry]) -> None:
        """Write a batch; when it fails as a whole, each entry on its own."""
        try:
            await self.transact(lambda tx: self._advance_batch(tx, batch))
        except Unavailable as exc:
            for entry in batch:
                self._done(entry, exc)
        except Exception as exc:
            if len(batch) == 1:
                if not isinstance(exc, KaijuError):
                    log.exception("task %s could not be written", batch[0].task_id)
                self._done(batch[0], exc)
            else:
                for entry in batch:
                    await self._write([entry])
        else:
            for entry in batch:
                self._done(entry, None)

    def _done(self, entry: Entry, error: BaseException | None) -> None:
        if entry.group is None:
            return
        entry.error = entry.error or error
        group, entry.group = entry.group, None
        group.one_done()

    async def _advance_batch(self, tx: Transaction, batch: list[Entry]) -> list[Change]:
        rows = await tx.lock([entry.task_id for entry in batch])
        changes: list[Change] = []
        drafts: list[Entry] = []
        known: list[Entry] = []
        advanced: list[tuple[Entry, Change]] = []
        decided: list[Change] = []
        audits: list[AuditRecord] = []
        for entry in batch:
            entry.tried = entry.step or entry.tried
            entry.error = entry.step = None
            (known if entry.draft is None else drafts).append(entry)
        if drafts:
            changes += await self._insert(tx, drafts)
        states = await self.states.load(tx, [rows[e.task_id] for e in known if e.task_id in rows])
        for entry in known:
            state = states.get(entry.task_id)
            if state is None and entry.tried is not None and entry.tried.deleted:
                entry.step = entry.tried
                continue
            if state is None:
                entry.error = NotFound(f"there is no task {entry.task_id!r}", id=entry.task_id)
                continue
            if entry.tried is not None and resolve_in_doubt(entry, entry.tried, state):
                if entry.step is not None:
                    decided.append(Change(entry.step, state.definition, None))
                continue
            change = self._advance_entry(entry, state, tx.now)
            if change is not None:
                advanced.append((entry, change))
        held = await held_elsewhere(tx, [change.step for _, change in advanced])
        for entry, change in advanced:
            if (holder := held.get(entry.task_id)) is not None:
                entry.step, entry.error = None, _key_held(holder, change)
                continue
            changes.append(change)
            if entry.audit is not None:
                audits.append(entry.audit)
        await self.save(tx, changes)
        if audits:
            await tx.add_audit(audits)
        return changes + decided

    def _advance_entry(self, entry: Entry, state: TaskState, now: float) -> Change | None:
        event = entry.event
        assert event is not None
        try:
            if not isinstance(event, Event):
                event = event(state)
            entry.step = step = advance(state, event, now)
        except KaijuError as exc:
            entry.error = exc
            return None
        if not step.changed:
            return None
        return Change.of(step, state)

    async def _insert(self, tx: Transaction, entries: list[Entry]) -> list[Change]:
        drafts = [entry.draft for entry in entries if entry.draft is not None]
        changes: list[Change] = []
        outcomes = await self._inserts.insert(tx, drafts)
        for entry, draft, outcome in zip(entries, drafts, outcomes, strict=True):
            if isinstance(outcome, Step):
                entry.step = outcome
                changes.append(Change(outcome, draft.definition, None))
            else:
                entry.error = outcome
        return changes

    # -- pieces of a transaction, for the manager's duties -----------------------------------

    async def advance_rows(
        self, tx: Transaction, rows: Iterable[Row], event: Callable[[TaskState], Event]
    ) -> list[Change]:
        """Advance locked rows and save them."""
        states = await self.states.load(tx, rows)
        changes = self.states.advance(tx, states.values(), event)
        await self.save(tx, changes)
        return changes

    async def save(
        self, tx: Transaction, changes: list[Change], slots: Slots | None = None
    ) -> None:
        """Save changes (inserted ones are saved already) and what follows from them, which is
        added to them.

        :param slots: those that this transaction has locked
        """
        await self.consequences.save(tx, changes, slots or Slots(self.states, tx))

    def _published(self, changes: list[Change]) -> None:
        self.states.published(changes)
        self._publish(changes)


def _key_held(holder: str, change: Change) -> Conflict:
    before = change.before
    return Conflict(
        f"the task {holder!r} holds the same unique key",
        status=None if before is None else before.status,
        field="data.unique",
        id=holder,
    )
