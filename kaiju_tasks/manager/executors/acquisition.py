"""Leases queued tasks of a stream to one executor, in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kaiju_tasks.lifecycle import (
    Acquired,
    Definition,
    Event,
    MethodLacking,
    Row,
    SlotFull,
    Step,
    TaskState,
    Unreadable,
)
from kaiju_tasks.manager.executors.assignments import Leased, assign
from kaiju_tasks.manager.executors.methods import lacks
from kaiju_tasks.manager.executors.room import Room
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.writing.changes import Change, Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.slots import Slots
from kaiju_tasks.manager.writing.states import fail
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import TaskStatus


class Found(NamedTuple):
    """The result of an acquisition.

    :param assignments: leased tasks, to be pushed
    :param held: number of tasks that wait for a slot, for the end of a pause, or for another
        executor
    :param more: whether the stream may have more ready tasks
    :param short: whether a ready task was left because it is too large to be sent now
    :param session_over: whether the session has ended because the executor reconnected elsewhere
    """

    assignments: Sequence[Assignment] = ()
    held: int = 0
    more: bool = False
    short: bool = False
    session_over: bool = False

    @property
    def looked(self) -> int:
        """The number of tasks that were leased or held."""
        return len(self.assignments) + self.held


class Acquisition:
    """Leases tasks of a stream to the executor of a session.

    :param nonce: the nonce of the leases
    :param places: maximum number of tasks to lease
    :param limit: maximum number of tasks to lock
    :param ready: 1 for ordinary tasks, 2 for suspect tasks
    :param gates: gates of methods that the executor has, at which tasks may wait
    :ivar tried: whether an attempt was made, which may have leased tasks
    :ivar attempts: how many attempts were made
    """

    def __init__(
        self,
        committer: Committer,
        pauses: PauseBook,
        session: Session,
        app_name: str,
        nonce: str,
        *,
        places: int,
        limit: int,
        ready: int,
        gates: Sequence[str] = (),
    ) -> None:
        self._gates = gates
        self._methods = session.methods.get(app_name)
        self._committer = committer
        self._pauses = pauses
        self._session = session
        self._app_name = app_name
        self._fills = session.fills
        self._nonce = nonce
        self._places = places
        self._limit = limit
        self._ready = ready
        self._acquired = Acquired(executor_id=session.executor_id, nonce=nonce)
        self.tried = False
        self.attempts = 0
        self._in_doubt = False

    def in_doubt(self) -> None:
        """The outcome of an attempt is unknown."""
        self._in_doubt = True

    async def attempt(self, tx: Transaction) -> Written[Found]:
        """Make one attempt. If the outcome of an earlier one is in doubt, look first for leases
        that it may have committed."""
        self.attempts += 1
        if self._in_doubt:
            assignments = await self._leased_before(tx)
            if assignments:
                return Written(Found(assignments, more=True), [])
        self.tried = True
        rows = await tx.lock_ready(
            self._app_name,
            self._limit,
            executor_id=self._session.executor_id,
            session=self._session.nonce,
            ready=self._ready,
            gates=self._gates,
        )
        if rows is None:
            return Written(Found(more=True, session_over=True), [])
        if not rows:
            return Written(Found(), [])
        return await self._lease(tx, rows)

    async def _leased_before(self, tx: Transaction) -> list[Assignment]:
        rows = await tx.lock_leased(self._session.executor_id)
        states = await self._committer.states.load(tx, [r for r in rows if r.nonce == self._nonce])
        leased = [self._leased(Step(s.row), s.definition) for s in states.values()]
        assignments, _ = await assign(tx, leased)
        return assignments

    def _leased(self, step: Step, definition: Definition) -> Leased:
        return Leased(step, definition, self._methods, self._fills)

    async def _lease(self, tx: Transaction, rows: Sequence[Row]) -> Written[Found]:
        """Lease locked tasks while there are places, and hold those that must wait."""
        await self._pauses.refresh(tx)
        states = await self._committer.states.load(tx, rows)
        slots = Slots(self._committer.states, tx)
        room = Room(self._places, self._session.untaken)
        lacking = self._lacking(states)
        fitting: Iterable[TaskState] = states.values()
        if lacking:
            fitting = (state for state in states.values() if state.row.id not in lacking)
        admitted, full = await slots.admit(fitting, room)

        def event(state: TaskState) -> Event:
            if state.row.id in lacking:
                return MethodLacking()
            return SlotFull() if state.row.id in full else self._acquired

        looked_at = [states[id] for id in (*admitted, *full, *lacking)]
        changes = self._committer.states.advance(tx, looked_at, event)
        leased = [self._leased(c.step, c.definition) for c in changes if _is_leased(c)]
        looked = len(changes)  # fewer than `rows` if no place is left or `advance` failed
        assignments, unreadable = await assign(tx, leased)
        if unreadable:
            changes = [_unless_unreadable(tx, c, states, unreadable) for c in changes]
        found = Found(
            assignments,
            held=looked - len(leased),
            more=room.short or (looked > 0 and (len(rows) >= self._limit or looked < len(rows))),
            short=room.short,
        )
        await self._committer.save(tx, changes, slots)
        return Written(found, changes)

    def _lacking(self, states: Mapping[str, TaskState]) -> set[str]:
        """The ids of the tasks whose method the executor lacks."""
        if self._methods is None:
            return set()
        return {
            task_id
            for task_id, state in states.items()
            if lacks(self._methods, state.definition, state.row.stage)
        }


def _is_leased(change: Change) -> bool:
    return change.step.row.status is TaskStatus.EXECUTED


def _unless_unreadable(
    tx: Transaction,
    change: Change,
    states: Mapping[str, TaskState],
    unreadable: Mapping[str, Unreadable],
) -> Change:
    """Let a task fail instead of being leased if its assignment cannot be built."""
    task_id = change.step.row.id
    if task_id not in unreadable:
        return change
    return Change.of(fail(tx, states[task_id], unreadable[task_id]), states[task_id])
