"""Lock, advance, save: every change of a task goes through here, committed in groups.

What arrives while a transaction runs is written together by the next one; nothing waits when
the ledger is idle. A caller is answered after the commit, never before, and one caller's error
is never another's.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from kaiju_tasks.errors import KaijuError, NotFound, Unavailable
from kaiju_tasks.lifecycle import (
    Event,
    Row,
    Start,
    Step,
    TaskState,
    advance,
    create,
)
from kaiju_tasks.manager.definitions import DefinitionCache
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.entries import (
    AlreadyExists,
    Change,
    Draft,
    Entry,
    EventSource,
    Group,
    settle,
)
from kaiju_tasks.store.base import (
    Store,
    StoreUnavailable,
    Transaction,
    TransactionConflict,
)

log = logging.getLogger(__name__)

MAX_CONFLICTS = 20
MAX_CHAIN = 3
LOOK_PAST = 4
"""Batches of entries that must wait, past which the queue is not searched."""
BATCH_BYTES = 4 * 1024 * 1024
OUTAGE_PATIENCE_SECONDS = 10.0
OUTAGE_RETRY_SECONDS = 0.1


class Ledger:
    """The one writer of tasks in a manager.

    :param publish: called with the changes of each committed transaction
    :param reached: called after each transaction with True, or False when the store is away
    :param lanes: transactions that may run side by side
    """

    def __init__(
        self,
        store: Store,
        dice: Dice,
        *,
        publish: Callable[[list[Change]], None],
        reached: Callable[[bool], None] = lambda ok: None,
        batch_rows: int = 500,
        lanes: int = 2,
    ) -> None:
        self._store = store
        self._dice = dice
        self._publish = publish
        self._reached = reached
        self._batch_rows = batch_rows
        self._lanes = lanes
        self._queue: deque[Entry] = deque()
        self._being_written: set[str] = set()
        self._stopping = False
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.definitions = DefinitionCache()

    def start(self) -> None:
        self._stopping = False
        self._tasks = [asyncio.create_task(self._lane()) for _ in range(self._lanes)]

    async def stop(self) -> None:
        """Write what is queued, then end; who comes later is refused."""
        self._stopping = True
        self._work.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what callers do -----------------------------------------------------------------

    async def apply(self, task_id: str, event: EventSource) -> Step:
        """Advance one task by one event.

        :raises NotFound: no such task
        :raises Conflict: the status does not allow it
        :raises Unavailable: the database cannot be reached
        """
        (outcome,) = await self.apply_all([(task_id, event)])
        if isinstance(outcome, Step):
            return outcome
        raise outcome

    async def apply_all(
        self, pairs: Sequence[tuple[str, EventSource]]
    ) -> list[Step | BaseException]:
        """Advance tasks, each on its own: an error of one is returned in its place."""
        return await self._submit([(task_id, event, None) for task_id, event in pairs])

    async def create(self, draft: Draft) -> Step:
        """Insert one task.

        :raises AlreadyExists: the id is taken; nothing was written
        """
        (outcome,) = await self._submit([(draft.definition.id, None, draft)])
        if isinstance(outcome, Step):
            return outcome
        raise outcome

    async def create_all(self, drafts: Sequence[Draft]) -> list[Step]:
        """Insert tasks in one transaction, all or none.

        :raises AlreadyExists: args are the taken ids; nothing was written
        """

        async def work(tx: Transaction) -> list[Change]:
            await tx.lock([])
            steps = [self._created(draft, tx.now) for draft in drafts]
            taken = await tx.insert(steps)
            taken -= await self._written_before(tx, drafts, taken)
            if taken:
                raise AlreadyExists(*sorted(taken))
            changes = [Change(s, d.definition, None) for s, d in zip(steps, drafts, strict=True)]
            await self.save(tx, changes)
            return changes

        changes = await self.transact(work)
        return [change.step for change in changes[: len(drafts)]]

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
            self._told(changes)
        except Exception:  # what is written is written: nobody may write it again for this
            log.exception("changes could not be told")
        return changes

    # -- groups --------------------------------------------------------------------------

    async def _submit(
        self, items: Sequence[tuple[str, EventSource | None, Draft | None]]
    ) -> list[Step | BaseException]:
        if not items:
            return []
        if self._stopping:
            raise Unavailable("the manager is stopping")
        group = Group(len(items))
        entries = [Entry(task_id, event, draft, group) for task_id, event, draft in items]
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
        settled: list[Change] = []
        for entry in batch:
            entry.tried = entry.step or entry.tried
            entry.error = entry.step = None
            (known if entry.draft is None else drafts).append(entry)
        if drafts:
            changes += await self._insert(tx, drafts)
        states = await self.states(tx, [rows[e.task_id] for e in known if e.task_id in rows])
        for entry in known:
            state = states.get(entry.task_id)
            if state is None and entry.tried is not None and entry.tried.deleted:
                entry.step = entry.tried
                continue
            if state is None:
                entry.error = NotFound(f"there is no task {entry.task_id!r}", id=entry.task_id)
                continue
            if entry.tried is not None and settle(entry, entry.tried, state.row):
                if entry.step is not None:
                    settled.append(Change(entry.step, state.definition, None))
                continue
            change = self._advance_entry(entry, state, tx.now)
            if change is not None:
                changes.append(change)
        await self.save(tx, changes)
        return changes + settled

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
        return Change(step, step.definition or state.definition, state.row)

    async def _insert(self, tx: Transaction, entries: list[Entry]) -> list[Change]:
        drafts = [entry.draft for entry in entries if entry.draft is not None]
        steps = [self._created(draft, tx.now) for draft in drafts]
        taken = await tx.insert(steps)
        taken -= await self._written_before(tx, drafts, taken)
        changes: list[Change] = []
        for entry, draft, step in zip(entries, drafts, steps, strict=True):
            if entry.task_id in taken:
                entry.error = AlreadyExists(entry.task_id)
            else:
                entry.step = step
                changes.append(Change(step, draft.definition, None))
        return changes

    async def _written_before(
        self, tx: Transaction, drafts: Sequence[Draft], taken: set[str]
    ) -> set[str]:
        """Ids that an earlier try of this transaction, of unknown outcome, has written."""
        if not taken:
            return set()
        rows = await tx.lock(taken)
        revs = {draft.definition.id: draft.rev for draft in drafts}
        return {task_id for task_id, row in rows.items() if row.rev == revs[task_id]}

    def _created(self, draft: Draft, now: float) -> Step:
        return create(
            draft.definition,
            now,
            job_id=draft.job_id,
            rev=draft.rev,
            enabled=draft.enabled,
            next_run=draft.next_run,
        )

    # -- pieces of a transaction, for the manager's duties -----------------------------------

    async def states(self, tx: Transaction, rows: Iterable[Row]) -> dict[str, TaskState]:
        """Locked rows with all that `advance` needs beside them."""
        rows = list(rows)
        definitions = await self.definitions.load(tx, rows)
        states = {
            row.id: TaskState(row, definitions[row.id]) for row in rows if row.id in definitions
        }
        keys: list[tuple[str, int, int]] = []
        inboxes: list[str] = []
        for state in states.values():
            definition = state.definition
            if definition.takes_messages:
                inboxes.append(state.row.id)
            job_id = state.row.job_id
            if definition.hook_results and job_id is not None:
                keys += [
                    (job_id, state.row.cycle, stage)
                    for stage in definition.hook_results
                    if stage < state.row.stage
                ]
        if inboxes:
            for task_id, messages in (await tx.inboxes(inboxes)).items():
                states[task_id].inbox = tuple(messages)
        if keys:
            results = await tx.results(keys)
            for state in states.values():
                job_id = state.row.job_id
                state.results = {
                    stage: results[job_id, stage]
                    for stage in state.definition.hook_results
                    if job_id is not None and (job_id, stage) in results
                }
        return states

    async def advance_rows(
        self, tx: Transaction, rows: Iterable[Row], event: Callable[[Row], Event]
    ) -> list[Change]:
        """Advance locked rows and save them."""
        states = await self.states(tx, rows)
        changes: list[Change] = []
        for state in states.values():
            try:
                step = advance(state, event(state.row), tx.now)
            except Exception:  # a fault of ours; one task's must not stop all the others
                log.exception("task %s cannot go on", state.row.id)
                continue
            if step.changed:
                changes.append(Change(step, step.definition or state.definition, state.row))
        await self.save(tx, changes)
        return changes

    async def save(self, tx: Transaction, changes: list[Change]) -> None:
        """Save changes (inserted ones are saved already) and start their next tasks with them.

        Each end of a run is one start. A chain of tasks that end at once is not followed for
        ever: from MAX_CHAIN on the next one is left to the scheduler.
        """
        await tx.save([change.step for change in changes if change.before is not None])
        starts = _starts(changes)
        chain = 0
        while starts:
            chain += 1
            wave, again = await self._start(tx, starts, chain)
            await tx.save([change.step for change in wave])
            changes += wave
            starts = again + (_starts(wave) if chain <= MAX_CHAIN else [])

    async def _start(
        self, tx: Transaction, starts: list[tuple[str, str]], chain: int
    ) -> tuple[list[Change], list[tuple[str, str]]]:
        """Start each task once; returns also what is to be started once more."""
        by = dict(reversed(starts))
        again = list(starts)
        for start in by.items():
            again.remove(start)
        states = await self.states(tx, (await tx.lock(by)).values())
        wave = []
        open_to_more = set()
        for task_id, state in states.items():
            event = Start(job_id=self._dice.new_id(), by=by[task_id], later=chain > MAX_CHAIN)
            step = advance(state, event, tx.now)
            wave.append(Change(step, state.definition, state.row))
            if not step.row.start_next:
                open_to_more.add(task_id)
        return wave, [start for start in again if start[0] in open_to_more]

    def _told(self, changes: list[Change]) -> None:
        for change in changes:
            step = change.step
            if step.deleted:
                self.definitions.forget(step.row.id)
            elif step.definition is not None:
                self.definitions.keep(step.row.rev, step.definition)
        self._publish(changes)


def _starts(changes: Iterable[Change]) -> list[tuple[str, str]]:
    """(the task to be started, the one that names it)"""
    return [
        (change.step.start_next, change.step.row.id)
        for change in changes
        if change.step.start_next is not None
    ]
