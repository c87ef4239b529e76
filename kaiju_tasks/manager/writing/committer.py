"""Commits every change of a task, in groups: locks, advances and saves the rows.

Changes that arrive while a transaction runs are written together by the next one. An idle
committer writes at once. A caller gets its answer after the commit, and never the error of
another caller.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from kaiju_tasks.errors import KaijuError, NotFound, QuotaExceeded, Unavailable
from kaiju_tasks.lifecycle import GRACE_SECONDS, Definition, Row, Step, refuses
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.writing.accounts import Accounts, Reservation
from kaiju_tasks.manager.writing.batch import Batch
from kaiju_tasks.manager.writing.changes import Change, Written
from kaiju_tasks.manager.writing.consequences import Consequences
from kaiju_tasks.manager.writing.entries import (
    AlreadyExists,
    Checked,
    Draft,
    DraftEntry,
    Duplicate,
    Entry,
    EventEntry,
    EventSource,
    Group,
)
from kaiju_tasks.manager.writing.entry_queue import EntryQueue
from kaiju_tasks.manager.writing.inserts import Inserts, presumable
from kaiju_tasks.manager.writing.placing import NoPlacement, Placement
from kaiju_tasks.manager.writing.slots import Slots
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import (
    Store,
    StoreUnavailable,
    Transaction,
    TransactionConflict,
)
from kaiju_tasks.store.presumed import VALID_SECONDS, NotPresumable, PresumedTransaction
from kaiju_tasks.types import AuditRecord

log = logging.getLogger(__name__)


def ignore() -> None:
    """Do nothing."""


MAX_CONFLICTS = 20
OUTAGE_PATIENCE_SECONDS = 10.0
OUTAGE_RETRY_SECONDS = 0.1
STOP_SECONDS = 10.0

T = TypeVar("T")


class Recorder(Protocol):
    """Records the outcomes of events in their transaction, which can be attempted several times."""

    async def begin(self, tx: Transaction) -> bool:
        """Whether the transaction may act. Called before it locks tasks."""
        ...

    async def end(self, tx: Transaction, outcomes: Sequence[Step | BaseException]) -> None:
        """Write the outcomes, in the order of the events."""
        ...


class Committer:
    """The only writer of tasks in a manager.

    :param publish: called with the changes of each committed transaction
    :param reached: called after each transaction with whether the store was reachable
    :param lanes: maximum number of concurrent transactions for entries
    :ivar written: the number of changes committed so far
    :ivar new_placement: makes what leases ready tasks in their transaction
    :ivar accounts: what principals use of their quotas
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
        self._lanes = lanes
        self.written = 0
        self.new_placement: Callable[[], Placement] = NoPlacement
        self._queue = EntryQueue(settings.batch_rows)
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._running: set[asyncio.Task[Any]] = set()
        self._under_way: set[asyncio.Future[None]] = set()
        self.states = States(max(GRACE_SECONDS, settings.ping_interval))
        self.accounts = Accounts(store, settings)
        self.consequences = Consequences(self.states, dice, settings, self.accounts)
        self._inserts = Inserts(self.states)
        self._batch = Batch(self.states, self._inserts, self.consequences, self.accounts)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._lane()) for _ in range(self._lanes)]

    async def stop(self) -> None:
        """Write the queued entries, then end. Entries that are not written within STOP_SECONDS
        fail. Later calls raise Unavailable."""
        self._stopping = True
        self._queue.close()
        if writing := [*self._tasks, *self._running]:
            _, late = await asyncio.wait(writing, timeout=STOP_SECONDS)
            for one in late:
                one.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
        for entry in self._queue.drain():
            entry.done(Unavailable("the manager is stopping"))
        await self.accounts.stop()

    # -- calls -----------------------------------------------------------------------------

    async def apply(
        self, task_id: str, event: EventSource | Checked, *, audit: AuditRecord | None = None
    ) -> Step:
        """Advance one task by one event.

        :param audit: written in the same transaction if the event changes the task
        :raises NotFound: no such task
        :raises Conflict: the status of the task does not allow the event
        :raises Unavailable: the database cannot be reached
        """
        return await self._submit_one(EventEntry, task_id, event, audit)

    async def apply_all(
        self,
        pairs: Sequence[tuple[str, EventSource | Checked]],
        *,
        audits: Sequence[AuditRecord] = (),
    ) -> list[Step | BaseException]:
        """Advance tasks independently of each other.

        :param audits: none, or one for each pair, written if its event changes the task
        :returns: the step or the error of each pair, in order
        :raises Unavailable: the manager is stopping
        """
        return await self._submit(_entries(pairs, audits))

    async def apply_together(
        self, pairs: Sequence[tuple[str, EventSource | Checked]], *, audits: Sequence[AuditRecord]
    ) -> None:
        """Advance tasks in one transaction, all or none. Unknown tasks are ignored.

        :param audits: one for each pair, written if its event changes the task
        :raises Conflict: the status of a task does not allow its event; `id` in the error's data
            names the task, and nothing was written
        """
        entries = _entries(pairs, audits)

        async def work(tx: Transaction) -> Written[None]:
            written = await self._batch.write(tx, entries)
            for entry in entries:
                error = entry.error
                if error is not None and not isinstance(error, NotFound):
                    if isinstance(error, KaijuError):
                        error.data.setdefault("id", entry.task_id)
                    raise error
            return written

        await self.transact(work, in_doubt=partial(_in_doubt, entries))

    async def apply_recorded(
        self, pairs: Sequence[tuple[str, EventSource | Checked]], record: Recorder
    ) -> bool:
        """Advance tasks independently of each other, and record the outcomes, in one transaction.

        :param record: says whether the transaction may act, and writes the outcomes
        :returns: False if it may not act: nothing was written, or an earlier attempt whose commit
            was in doubt has been committed
        :raises KaijuError: these tasks cannot be written together; nothing was written
        """
        entries = _entries(pairs, ())
        attempt: list[Change] = []
        doubtful: list[Change] = []

        async def work(tx: Transaction) -> Written[bool]:
            if not await record.begin(tx):
                return Written(False, await _committed(tx, doubtful))
            written = await self._batch.write(tx, entries)
            await record.end(tx, [entry.outcome() for entry in entries])
            attempt[:] = written.changes
            return Written(True, written.changes)

        return await self.transact(work, in_doubt=lambda: doubtful.extend(attempt))

    async def create(self, draft: Draft) -> Step:
        """Insert one task.

        :raises AlreadyExists: the id is taken; nothing was written
        :raises Duplicate: another task holds its unique key; nothing was written
        :raises StaleLease: the stage that creates it does not run under its lease any more
        :raises QuotaExceeded: its owner may not create it; nothing was written
        """
        return await self._submit_one(DraftEntry, draft)

    async def holder(self, draft: Draft) -> str | None:
        """The task that holds the unique key of a draft. None: none does, or there is no key.

        :raises Unavailable: the database cannot be reached, or the conflicts do not end
        """
        if draft.definition.unique_key is None:
            return None

        async def work(tx: Transaction) -> Written[str | None]:
            return Written(await self._inserts.holder(tx, draft), [])

        return await self.transact(work)

    async def create_all(
        self, drafts: Sequence[Draft], sees: Callable[[Definition], bool]
    ) -> list[Step | Duplicate]:
        """Insert tasks in one transaction, all or none. Tasks that accept a duplicate are left
        out if another task holds their unique key.

        :param sees: whether the caller may know the task that holds a unique key
        :returns: for each draft, the step or the duplicate, in order
        :raises AlreadyExists: ids are taken, and are the `args`; nothing was written
        :raises Duplicate: another task holds the unique key of a draft whose `on_conflict` refuses
            that task, or that the caller does not see; nothing was written
        :raises StaleLease: the stage that creates them does not run under its lease any more
        :raises QuotaExceeded: their owner may not create them; nothing was written
        """
        fences = {draft.fence for draft in drafts if draft.fence is not None}

        async def work(tx: Transaction) -> Written[list[Step | Duplicate]]:
            rows = await tx.lock([fence.lease.id for fence in fences])
            for fence in fences:
                fence.check(rows.get(fence.lease.id))
            inserted = await self._inserts.insert(tx, drafts)
            outcomes = await _all_or_none(tx, drafts, inserted, sees)
            changes = [
                Change(one, draft.definition, None)
                for one, draft in zip(outcomes, drafts, strict=True)
                if isinstance(one, Step)
            ]
            # what an earlier attempt has created is not refused
            new = Counter(one.definition.user_id for one in changes if one.step.changed)
            for owner, number in new.items():
                self.accounts.take(tx, owner, number)
            await self.save(tx, changes)
            return Written(outcomes, changes)

        presume = all(map(presumable, drafts))
        return await self.accounts.attempt(lambda: self.transact(work, presume=presume))

    async def transact(
        self,
        work: Callable[[Transaction], Awaitable[Written[T]]],
        *,
        presume: bool = False,
        ready: Sequence[Row] = (),
        in_doubt: Callable[[], None] = ignore,
    ) -> T:
        """Run a separate transaction and publish its changes. The transaction is retried as a
        whole after a conflict or a short database outage.

        A caller that is cancelled does not interrupt the transaction: a commit is always published.

        :param work: one attempt; it must have no effects outside the transaction
        :param presume: whether the first attempt is a presumed one (decision 0033)
        :param ready: the ready tasks that a presumed attempt finds, from `ready_tasks`
        :param in_doubt: called after each attempt whose commit is in doubt
        :returns: the value of the committed attempt
        :raises Unavailable: the database cannot be reached, or the conflicts do not end
        """
        task = asyncio.create_task(self._transact(work, presume, in_doubt, ready))
        self._running.add(task)
        task.add_done_callback(self._ran)
        return await asyncio.shield(task)

    async def ready_tasks(self, app_name: str, limit: int) -> list[Row] | None:
        """Read ready tasks of a stream that a presumed transaction may lease. None: their stream
        must be looked at with locks, for example because a definition is not at hand."""
        try:
            rows = await self._store.ready_tasks(app_name, limit)
        except StoreUnavailable:  # the transaction waits for the database
            return None
        return rows if self.states.definitions.are_current(rows) else None

    async def settle(self) -> None:
        """Wait until the transactions that are under way have ended. What they have committed is
        visible then, unless a commit is still in doubt."""
        if under_way := self._under_way.copy():
            await asyncio.wait(under_way)

    def _ran(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that was cancelled does not retrieve it

    async def _transact(
        self,
        work: Callable[[Transaction], Awaitable[Written[T]]],
        presume: bool,
        in_doubt: Callable[[], None],
        ready: Sequence[Row] = (),
    ) -> T:
        placement, reservation = self.new_placement(), Reservation()
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(ended)
        try:
            written = await self._commit(work, placement, reservation, presume, in_doubt, ready)
            self.written += len(written.changes)
            self._reached(True)
            try:
                self.accounts.committed(written.changes)
                self.states.published(written.changes)
                placement.send()
                self._publish(written.changes)
            except Exception:  # the commit has succeeded: the caller must not retry it
                log.exception("publishing committed changes failed")
            return written.value
        finally:
            placement.end()
            reservation.release()
            self._under_way.discard(ended)
            ended.set_result(None)

    async def _commit(
        self,
        work: Callable[[Transaction], Awaitable[Written[T]]],
        placement: Placement,
        reservation: Reservation,
        presume: bool,
        in_doubt: Callable[[], None],
        ready: Sequence[Row] = (),
    ) -> Written[T]:
        conflicts = 0
        patience = asyncio.get_running_loop().time() + OUTAGE_PATIENCE_SECONDS
        doubtful: set[str] = set()
        under_way = False
        while True:
            written, presuming = None, False
            try:
                if under_way:
                    await asyncio.sleep(VALID_SECONDS)
                    under_way = False
                if doubtful:
                    await self._fence(doubtful)
                    doubtful.clear()
                if presume:
                    presume, presuming = False, True
                    presumed = PresumedTransaction(
                        self._store.clock(),
                        self._store.clock_revision,
                        self.states.rows.get,
                        self.states.pauses.revision,
                        ready,
                    )
                    written = await self._presumed(presumed, work, placement, reservation)
                    if written is not None and await self._store.write_presumed(presumed.writes):
                        return written
                    self.states.rows.forget(presumed.read)
                    written, presuming = None, False
                async with self._store.transaction() as tx:
                    written = await self._attempt(tx, work, placement, reservation)
                return written
            except TransactionConflict:
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    message = f"the transaction conflicted {conflicts} times: try again"
                    raise Unavailable(message) from None
                await asyncio.sleep(0.002 * conflicts * self._dice.fraction())
            except StoreUnavailable as exc:
                self._reached(False)
                if written is not None and exc.unknown:
                    in_doubt()
                    placement.in_doubt()
                    self.accounts.in_doubt(written.changes)
                    doubtful.update(change.step.row.id for change in written.changes)
                    under_way = presuming
                if self._stopping or asyncio.get_running_loop().time() > patience:
                    raise Unavailable(f"the database cannot be reached: {exc}") from exc
                await asyncio.sleep(OUTAGE_RETRY_SECONDS)

    async def _presumed(
        self,
        presumed: PresumedTransaction,
        work: Callable[[Transaction], Awaitable[Written[T]]],
        placement: Placement,
        reservation: Reservation,
    ) -> Written[T] | None:
        """Run an attempt that presumes what the database holds. None: only the database can decide
        it, also whether there is an error."""
        try:
            written = await self._attempt(cast(Transaction, presumed), work, placement, reservation)
            presumed.check()
        except (NotPresumable, KaijuError):
            return None
        return written

    async def _attempt(
        self,
        tx: Transaction,
        work: Callable[[Transaction], Awaitable[Written[T]]],
        placement: Placement,
        reservation: Reservation,
    ) -> Written[T]:
        await placement.begin(tx)
        self.states.placings.open(tx, placement)
        self.accounts.open(tx, reservation)
        try:
            written = await work(tx)
        finally:
            self.states.placings.close(tx)
            self.accounts.close(tx)
        await placement.assign(written.changes)
        return written

    async def _fence(self, ids: Iterable[str]) -> None:
        """Wait until the earlier attempts that have changed these tasks have ended.

        A broken connection does not end its transaction, which may still hold its locks and commit
        later. Until then, statements that skip locked rows would not find what it has changed.
        """
        try:
            async with self._store.transaction() as tx:
                await tx.lock(ids)
        except TransactionConflict as exc:
            raise StoreUnavailable(f"An earlier transaction has not ended: {exc}") from exc

    # -- groups --------------------------------------------------------------------------

    async def _submit_one(self, make: Callable[..., Entry], *arguments: Any) -> Step:
        known = self.accounts.counted_at
        asked = asyncio.get_running_loop().time()
        (outcome,) = await self._submit([make(*arguments)])
        if isinstance(outcome, QuotaExceeded) and await self.accounts.recount(
            outcome, asked, known
        ):
            (outcome,) = await self._submit([make(*arguments)])
        if isinstance(outcome, Step):
            return outcome
        raise outcome

    async def _submit(self, entries: Sequence[Entry]) -> list[Step | BaseException]:
        if not entries:
            return []
        if self._stopping:
            raise Unavailable("the manager is stopping")
        group = Group(len(entries))
        for entry in entries:
            entry.group = group
        self._queue.put(entries)
        await group.done
        return [entry.outcome() for entry in entries]

    async def _lane(self) -> None:
        while batch := await self._queue.next_batch():
            try:
                await self._write(batch)
            except BaseException as exc:
                for entry in batch:
                    entry.done(Unavailable("the manager is stopping"))
                if not isinstance(exc, Exception):
                    raise
                log.exception("writing a batch failed")
            finally:
                self._queue.written(batch)

    async def _write(self, batch: list[Entry]) -> None:
        """Write a batch. If it fails as a whole, write each entry separately."""
        try:
            await self._transact(
                lambda tx: self._batch.write(tx, batch),
                self._batch.presumable(batch),
                partial(_in_doubt, batch),
            )
        except Unavailable as exc:
            for entry in batch:
                entry.done(exc)
        except Exception as exc:
            if len(batch) == 1:
                if not isinstance(exc, KaijuError):
                    log.exception("writing task %s failed", batch[0].task_id)
                batch[0].done(exc)
            else:
                for entry in batch:
                    await self._write([entry])
        else:
            for entry in batch:
                entry.done(None)

    # -- parts of a transaction ----------------------------------------------------------------

    async def advance_rows(
        self, tx: Transaction, rows: Iterable[Row], event: EventSource
    ) -> list[Change]:
        """Advance locked rows and save them."""
        states = await self.states.load(tx, rows)
        changes = self.states.advance(tx, states.values(), event)
        await self.save(tx, changes)
        return changes

    async def save(
        self, tx: Transaction, changes: list[Change], slots: Slots | None = None
    ) -> None:
        """Save changes and their consequences.

        :param changes: the changes, of which insertions are saved already; the consequences are
            appended
        :param slots: the slots that this transaction has locked
        """
        await self.consequences.save(tx, changes, slots or Slots(self.states, tx))


async def _committed(tx: Transaction, doubtful: Sequence[Change]) -> list[Change]:
    """Those changes of an attempt whose commit was in doubt that the database shows."""
    rows = await tx.lock([change.step.row.id for change in doubtful])
    return [change for change in doubtful if rows.get(change.step.row.id) == change.step.row]


def _in_doubt(entries: Iterable[Entry]) -> None:
    for entry in entries:
        entry.in_doubt()


def _entries(
    pairs: Sequence[tuple[str, EventSource | Checked]], audits: Sequence[AuditRecord]
) -> list[EventEntry]:
    if not audits:
        return [EventEntry(task_id, event) for task_id, event in pairs]
    return [
        EventEntry(task_id, event, audit)
        for (task_id, event), audit in zip(pairs, audits, strict=True)
    ]


async def _all_or_none(
    tx: Transaction,
    drafts: Sequence[Draft],
    inserted: Sequence[Step | AlreadyExists | Duplicate],
    sees: Callable[[Definition], bool],
) -> list[Step | Duplicate]:
    """:raises AlreadyExists: an id is taken
    :raises Duplicate: another task holds the unique key of a draft that refuses that task, or that
        the caller does not see
    """
    if taken := [one for one in inserted if isinstance(one, AlreadyExists)]:
        raise AlreadyExists(*sorted(str(one) for one in taken))
    duplicates = {one.task_id: one for one in inserted if isinstance(one, Duplicate)}
    holders = await _definitions(tx, drafts, {one.holder for one in duplicates.values()})
    for draft in drafts:
        one = duplicates.get(draft.definition.id)
        if one is None:
            continue
        holder = holders[one.holder]
        if refuses(draft.definition, holder) or not sees(holder):
            raise one
    return [one for one in inserted if not isinstance(one, AlreadyExists)]


async def _definitions(
    tx: Transaction, drafts: Sequence[Draft], ids: set[str]
) -> dict[str, Definition]:
    """The definitions of tasks that exist, or were just created from drafts."""
    definitions = {draft.definition.id: draft.definition for draft in drafts}
    if others := ids - definitions.keys():
        stored = await tx.definitions(others)
        if others - stored.keys():
            raise TransactionConflict("the holder of a unique key was deleted meanwhile")
        definitions |= {task_id: one.definition for task_id, one in stored.items()}
    return definitions
