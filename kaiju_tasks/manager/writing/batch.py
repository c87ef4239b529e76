"""Writes a batch of entries in one transaction: creates, advances and saves tasks."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from kaiju_tasks.errors import Conflict, KaijuError, NotFound, QuotaExceeded, StaleLease
from kaiju_tasks.lifecycle import MessageCame, Row, Step, TaskState
from kaiju_tasks.manager.writing.account import is_open
from kaiju_tasks.manager.writing.accounts import Accounts
from kaiju_tasks.manager.writing.changes import Change, Written
from kaiju_tasks.manager.writing.claims import held_elsewhere
from kaiju_tasks.manager.writing.consequences import Consequences
from kaiju_tasks.manager.writing.entries import DraftEntry, Entry, EventEntry, resolve_in_doubt
from kaiju_tasks.manager.writing.inserts import Inserts, presumable
from kaiju_tasks.manager.writing.slots import Slots
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.store.base import Transaction

log = logging.getLogger(__name__)


class Batch:
    """Writes entries, at most one for each task. It sets a step or an error on each entry."""

    def __init__(
        self, states: States, inserts: Inserts, consequences: Consequences, accounts: Accounts
    ) -> None:
        self._states = states
        self._inserts = inserts
        self._consequences = consequences
        self._accounts = accounts

    def presumable(self, entries: Iterable[Entry]) -> bool:
        """Whether these entries probably need nothing that only the database knows."""
        return all(self._is_presumable(entry) for entry in entries)

    def _is_presumable(self, entry: Entry) -> bool:
        if isinstance(entry, DraftEntry):
            return presumable(entry.draft)
        if not isinstance(entry, EventEntry) or entry.audit is not None:
            return False
        if isinstance(entry.event, MessageCame) or self._states.rows.get(entry.task_id) is None:
            return False
        definition = self._states.definitions.known(entry.task_id)
        return definition is not None and not (
            definition.slot_key or definition.takes_messages or definition.hook_results
        )

    async def write(self, tx: Transaction, entries: Sequence[Entry]) -> Written[None]:
        for entry in entries:
            entry.begin()
        known = [entry for entry in entries if isinstance(entry, EventEntry)]
        drafts = [entry for entry in entries if isinstance(entry, DraftEntry)]
        fenced = [entry for entry in drafts if entry.draft.fence is not None]
        rows = await tx.lock([entry.task_id for entry in known] + _stages_of(fenced))
        if fenced:
            drafts = _allowed(drafts, rows)
        changes = await self._create(tx, drafts)
        states = await self._states.load(tx, [rows[e.task_id] for e in known if e.task_id in rows])
        if sent := _messages_of(known, states):
            await self._states.load_received(tx, states, sent)
        undecided, decided = _decided_before(known, states)
        advanced = await self._with_keys(tx, undecided, states)
        changes += [change for _, change in advanced]
        await self._consequences.save(tx, changes, Slots(self._states, tx))
        if audits := [entry.audit for entry, _ in advanced if entry.audit is not None]:
            await tx.add_audit(audits)
        return Written(None, changes + decided)

    async def _create(self, tx: Transaction, entries: Sequence[DraftEntry]) -> list[Change]:
        changes: list[Change] = []
        entries = [entry for entry in entries if self._is_admitted(tx, entry)]
        if not entries:
            return changes
        outcomes = await self._inserts.insert(tx, [entry.draft for entry in entries])
        for entry, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, Step):
                entry.step = outcome
                changes.append(Change(outcome, entry.draft.definition, None))
            else:
                entry.error = outcome
        return changes

    def _is_admitted(self, tx: Transaction, entry: DraftEntry) -> bool:
        """Whether the quotas of its owner allow a task. If not, the entry has got an error. What an
        earlier attempt may have created is not refused."""
        if entry.tried is not None:
            return True
        try:
            self._accounts.take(tx, entry.draft.definition.user_id)
        except QuotaExceeded as exc:
            entry.error = exc
            return False
        return True

    def _advance(
        self, tx: Transaction, entries: Iterable[EventEntry], states: Mapping[str, TaskState]
    ) -> list[tuple[EventEntry, Change]]:
        advanced: list[tuple[EventEntry, Change]] = []
        for entry in entries:
            state = states[entry.task_id]
            entry.step = entry.error = None
            try:
                entry.check(state)
                entry.step = step = self._states.step(tx, state, entry.event)
            except KaijuError as exc:
                entry.error = exc
                continue
            except Exception as exc:  # a bug met by one task must not stop the others
                log.exception("advancing task %s failed", entry.task_id)
                entry.error = exc
                continue
            if step.changed:
                advanced.append((entry, Change.of(step, state)))
        return advanced

    def _may_open(self, tx: Transaction, entry: EventEntry, change: Change) -> bool:
        """Whether the quotas of its owner allow a change. If not, the entry has got an error."""
        before, after = change.before, change.step.row
        if not entry.limited or before is None or is_open(before) or not is_open(after):
            return True
        try:
            self._accounts.take(tx, change.definition.user_id, new=False)
        except QuotaExceeded as exc:
            entry.step, entry.error = None, exc
            return False
        return True

    async def _with_keys(
        self, tx: Transaction, entries: Sequence[EventEntry], states: Mapping[str, TaskState]
    ) -> list[tuple[EventEntry, Change]]:
        """Advance, and refuse edits that need a unique key that another task holds."""
        advanced, began = self._advance(tx, entries, states), tx.now
        refused = {entry for entry, change in advanced if not self._may_open(tx, entry, change)}
        if refused:
            advanced = [pair for pair in advanced if pair[0] not in refused]
            entries = [entry for entry in entries if entry not in refused]
        held = await held_elsewhere(tx, [change.step for _, change in advanced])
        if tx.now != began:  # it may have waited for the end of the holder: nothing begins earlier
            advanced = self._advance(tx, entries, states)
        if not held:
            return advanced
        for entry, change in advanced:
            if (holder := held.get(entry.task_id)) is not None:
                entry.step, entry.error = None, _key_held(holder, change)
        return [(entry, change) for entry, change in advanced if entry.task_id not in held]


def _stages_of(drafts: Iterable[DraftEntry]) -> list[str]:
    """The tasks whose stages create these drafts."""
    return [entry.draft.fence.lease.id for entry in drafts if entry.draft.fence is not None]


def _allowed(drafts: Iterable[DraftEntry], rows: Mapping[str, Row]) -> list[DraftEntry]:
    """The drafts that may be created. The others get an error: the stage that creates them does not
    run under its lease any more.

    :param rows: the locked rows of the tasks whose stages create drafts
    """
    allowed = []
    for entry in drafts:
        fence = entry.draft.fence
        try:
            if fence is not None:
                fence.check(rows.get(fence.lease.id))
        except StaleLease as exc:
            entry.error = exc
        else:
            allowed.append(entry)
    return allowed


def _messages_of(entries: Iterable[EventEntry], states: Mapping[str, TaskState]) -> dict[str, str]:
    """The ids of the messages among the events, by task id."""
    return {
        entry.task_id: entry.event.message_id
        for entry in entries
        if isinstance(entry.event, MessageCame) and entry.task_id in states
    }


def _decided_before(
    entries: Iterable[EventEntry], states: Mapping[str, TaskState]
) -> tuple[list[EventEntry], list[Change]]:
    """Resolve the entries that need no advance: unknown tasks, and what an earlier attempt has
    committed.

    :returns: the remaining entries, and the changes of earlier attempts, still to be published
    """
    undecided: list[EventEntry] = []
    decided: list[Change] = []
    for entry in entries:
        state = states.get(entry.task_id)
        tried = entry.tried
        if state is None:
            if tried is not None and tried.deleted:
                entry.step = tried
            else:
                entry.error = NotFound(f"there is no task {entry.task_id!r}", id=entry.task_id)
        elif tried is None or not resolve_in_doubt(entry, tried, state):
            undecided.append(entry)
        elif entry.step is not None:
            decided.append(Change(entry.step, state.definition, None))
    return undecided, decided


def _key_held(holder: str, change: Change) -> Conflict:
    before = change.before
    return Conflict(
        f"the task {holder!r} holds the same unique key",
        status=None if before is None else before.status,
        field="data.unique",
        id=holder,
    )
