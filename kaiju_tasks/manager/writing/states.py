"""Loads the states of locked rows and advances them."""

import logging
from collections.abc import Iterable, Mapping

from kaiju_tasks.errors import reason_of
from kaiju_tasks.lifecycle import (
    NO_PAUSES,
    OPERATOR_CALLS,
    Event,
    MessageCame,
    Pauses,
    Row,
    Step,
    TaskState,
    Unreadable,
    advance,
    fail_broken,
)
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.definitions import DefinitionCache
from kaiju_tasks.manager.writing.entries import EventSource
from kaiju_tasks.manager.writing.known_rows import KnownRows
from kaiju_tasks.manager.writing.placing import Placings
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import ENDED

log = logging.getLogger(__name__)

CALLS = OPERATOR_CALLS | {MessageCame}
"""The events that somebody asks for, who gets their error."""


class States:
    """Loads and advances task states.

    :param grace_seconds: see `TaskState`
    :ivar pauses: the latest pauses that this manager has read
    :ivar placings: leases ready tasks before they are saved
    """

    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        self.definitions = DefinitionCache()
        self.rows = KnownRows()
        self.pauses: Pauses = NO_PAUSES
        self.placings = Placings()

    async def load(self, tx: Transaction, rows: Iterable[Row]) -> dict[str, TaskState]:
        """Load all that `advance` needs for locked rows. Rows without a definition are left out.

        :returns: the states by task id
        """
        rows = list(rows)
        definitions = await self.definitions.load(tx, rows)
        pauses = self.pauses
        states = {
            row.id: TaskState(
                row, definitions[row.id], pauses=pauses, grace_seconds=self.grace_seconds
            )
            for row in rows
            if row.id in definitions
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

    async def load_received(
        self, tx: Transaction, states: Mapping[str, TaskState], sent: Mapping[str, str]
    ) -> None:
        """Load which messages earlier runs have received.

        :param sent: ids of messages by task id
        """
        for task_id in await tx.received(sent):
            states[task_id].received = frozenset({sent[task_id]})

    async def lock(self, tx: Transaction, ids: Iterable[str]) -> dict[str, TaskState]:
        """Lock tasks, in the order of their ids, and load their states. Unknown tasks are left
        out."""
        return await self.load(tx, (await tx.lock(ids)).values())

    def advance(
        self, tx: Transaction, states: Iterable[TaskState], event: EventSource
    ) -> list[Change]:
        """Advance states, as nobody has asked for it: a task that cannot be read fails. The caller
        saves the changes."""
        changes: list[Change] = []
        for state in states:
            try:
                step = self.step(tx, state, event)
            except Unreadable as exc:
                step = fail(tx, state, exc)
            except Exception:  # a bug met by one task must not stop the others
                log.exception("advancing task %s failed", state.row.id)
                continue
            if step.changed:
                changes.append(Change.of(step, state))
        return changes

    def step(self, tx: Transaction, state: TaskState, source: EventSource) -> Step:
        """Advance a state. A task that cannot be advanced fails, unless somebody asks for the
        event, who gets the error.

        :raises Exception: the error of a call, or of a function that makes the event
        """
        event = source if isinstance(source, Event) else source(state)
        try:
            return advance(state, event, tx.now)
        except Exception as exc:
            if type(event) in CALLS:
                raise
            return fail(tx, state, exc)

    def published(self, changes: Iterable[Change]) -> None:
        """Update the caches after a commit."""
        for change in changes:
            step = change.step
            if step.deleted:
                self.definitions.forget(step.row.id)
                self.rows.forget([step.row.id])
                continue
            self.rows.committed(step.row)
            if step.definition is not None:
                self.definitions.keep(step.row.rev, step.definition)
            if step.row.status in ENDED and step.row.next_run is None:
                self.definitions.ended(step.row.id)


def fail(tx: Transaction, state: TaskState, error: Exception) -> Step:
    """The step of a task that cannot be advanced, which is logged."""
    step = fail_broken(state, error, tx.now)
    if step.changed:
        task_id, reason = state.row.id, reason_of(error)
        log.error("advancing task %s failed, it is FAILED now: %s", task_id, reason)
        log.debug("advancing task %s failed", task_id, exc_info=error)
    return step
