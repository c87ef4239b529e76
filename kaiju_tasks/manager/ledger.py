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
    Definition,
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
from kaiju_tasks.store.base import (
    Store,
    StoreUnavailable,
    Transaction,
    TransactionConflict,
)

log = logging.getLogger(__name__)

MAX_CONFLICTS = 20
MAX_CHAIN = 3
OUTAGE_PATIENCE_SECONDS = 10.0
OUTAGE_RETRY_SECONDS = 0.1

EventSource = Event | Callable[[TaskState], Event]


class Draft:
    """A task to be created."""

    __slots__ = ("definition", "enabled", "job_id", "next_run", "rev")

    def __init__(
        self,
        definition: Definition,
        *,
        job_id: str,
        rev: int,
        enabled: bool = True,
        next_run: float | None = None,
    ) -> None:
        self.definition = definition
        self.job_id = job_id
        self.rev = rev
        self.enabled = enabled
        self.next_run = next_run


class Change:
    """A Step and the definition it was made with, as it is told after the commit."""

    __slots__ = ("before", "definition", "step")

    def __init__(self, step: Step, definition: Definition, before: Row | None) -> None:
        self.step = step
        self.definition = definition
        self.before = before


class _Group:
    """Entries that one caller waits for together."""

    __slots__ = ("done", "left")

    def __init__(self, size: int) -> None:
        self.left = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def one_done(self) -> None:
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


class _Entry:
    __slots__ = ("draft", "error", "event", "group", "step", "task_id")

    def __init__(
        self, task_id: str, event: EventSource | None, draft: Draft | None, group: _Group
    ) -> None:
        self.task_id = task_id
        self.event = event
        self.draft = draft
        self.group: _Group | None = group
        self.step: Step | None = None
        self.error: BaseException | None = None

    def outcome(self) -> Step | BaseException:
        outcome = self.error or self.step
        assert outcome is not None
        return outcome


class AlreadyExists(Exception):
    """A task with this id is there."""


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
        self._queue: deque[_Entry] = deque()
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.definitions = DefinitionCache()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._lane()) for _ in range(self._lanes)]

    async def stop(self) -> None:
        """Write what is queued, then end."""
        while self._queue:
            self._work.set()
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
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
            return [Change(s, d.definition, None) for s, d in zip(steps, drafts, strict=True)]

        changes = await self.transact(work)
        return [change.step for change in changes]

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
                if asyncio.get_running_loop().time() > patience:
                    raise Unavailable(f"the database cannot be reached: {exc}") from exc
                await asyncio.sleep(OUTAGE_RETRY_SECONDS)
        self._reached(True)
        self._told(changes)
        return changes

    # -- groups --------------------------------------------------------------------------

    async def _submit(
        self, items: Sequence[tuple[str, EventSource | None, Draft | None]]
    ) -> list[Step | BaseException]:
        if not items:
            return []
        group = _Group(len(items))
        entries = [_Entry(task_id, event, draft, group) for task_id, event, draft in items]
        self._queue.extend(entries)
        self._work.set()
        await group.done
        return [entry.outcome() for entry in entries]

    async def _lane(self) -> None:
        while True:
            await self._work.wait()
            batch = self._take()
            if not batch:
                self._work.clear()
                continue
            try:
                await self._write(batch)
            except BaseException as exc:
                for entry in batch:
                    self._done(entry, Unavailable("the manager is stopping"))
                if not isinstance(exc, Exception):
                    raise
                log.exception("a batch could not be written")

    def _take(self) -> list[_Entry]:
        """Up to a batch of entries, at most one for a task, in order."""
        queue = self._queue
        batch: dict[str, _Entry] = {}
        later: list[_Entry] = []
        while queue and len(batch) < self._batch_rows:
            entry = queue.popleft()
            if entry.task_id in batch:
                later.append(entry)
            else:
                batch[entry.task_id] = entry
        queue.extendleft(reversed(later))
        return list(batch.values())

    async def _write(self, batch: list[_Entry]) -> None:
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

    def _done(self, entry: _Entry, error: BaseException | None) -> None:
        if entry.group is None:
            return
        entry.error = entry.error or error
        group, entry.group = entry.group, None
        group.one_done()

    async def _advance_batch(self, tx: Transaction, batch: list[_Entry]) -> list[Change]:
        rows = await tx.lock([entry.task_id for entry in batch])
        changes: list[Change] = []
        drafts: list[_Entry] = []
        known: list[_Entry] = []
        for entry in batch:
            entry.error = entry.step = None
            (known if entry.draft is None else drafts).append(entry)
        if drafts:
            changes += await self._insert(tx, drafts)
        states = await self.states(tx, [rows[e.task_id] for e in known if e.task_id in rows])
        for entry in known:
            state = states.get(entry.task_id)
            if state is None:
                entry.error = NotFound(f"there is no task {entry.task_id!r}", id=entry.task_id)
                continue
            change = self._advance_entry(entry, state, tx.now)
            if change is not None:
                changes.append(change)
        await self.save(tx, changes)
        return changes

    def _advance_entry(self, entry: _Entry, state: TaskState, now: float) -> Change | None:
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

    async def _insert(self, tx: Transaction, entries: list[_Entry]) -> list[Change]:
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
            step = advance(state, event(state.row), tx.now)
            if step.changed:
                changes.append(Change(step, step.definition or state.definition, state.row))
        await self.save(tx, changes)
        return changes

    async def save(self, tx: Transaction, changes: list[Change]) -> None:
        """Save changes (inserted ones are saved already) and start their next tasks with them."""
        await tx.save([change.step for change in changes if change.before is not None])
        wave = changes
        chain = 0
        while targets := {
            change.step.start_next: change.step.row.id
            for change in wave
            if change.step.start_next is not None
        }:
            chain += 1
            rows = await tx.lock(targets)
            states = await self.states(tx, rows.values())
            wave = []
            for task_id, state in states.items():
                event = Start(
                    job_id=self._dice.new_id(), by=targets[task_id], later=chain > MAX_CHAIN
                )
                step = advance(state, event, tx.now)
                wave.append(Change(step, state.definition, state.row))
            await tx.save([change.step for change in wave])
            changes += wave

    def _told(self, changes: list[Change]) -> None:
        for change in changes:
            step = change.step
            if step.deleted:
                self.definitions.forget(step.row.id)
            elif step.definition is not None:
                self.definitions.keep(step.row.rev, step.definition)
        self._publish(changes)
