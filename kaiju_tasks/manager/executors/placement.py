"""Leases tasks to free executors in the transaction that makes them ready.

A task whose stream has no backlog need not go through it: it is leased at once, and is sent after
the commit.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from kaiju_tasks.lifecycle import Acquired, Definition, Row, Step, TaskState, advance
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.executors.assignments import Leased, assign
from kaiju_tasks.manager.executors.reconciliation import lease_of
from kaiju_tasks.manager.executors.room import Room
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.executors.streams import READY, Streams
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.protocol import Assignment, Lease
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import TaskStatus


class Place(NamedTuple):
    """A place that was reserved for a task in a session."""

    session: Session
    nonce: str


class Placement:
    """The leases of one transaction, over all its attempts (`writing.placing.Placement`)."""

    def __init__(
        self,
        streams: Streams,
        states: States,
        pauses: PauseBook,
        dice: Dice,
        close: Callable[[Session], None],
    ) -> None:
        self._streams = streams
        self._states = states
        self._pauses = pauses
        self._dice = dice
        self._close = close
        self._tx: Transaction
        self._nonce: str | None = None
        self._places: dict[str, Place] = {}
        self._rooms: dict[Session, Room] = {}
        self._held: dict[Session, bool] = {}
        self._doubtful: dict[str, list[Place]] = {}
        self._found: list[tuple[Place, Step, Definition]] = []
        self._assigned: dict[Session, list[Assignment]] = {}
        self._unreadable: list[tuple[Session, Lease]] = []

    async def begin(self, tx: Transaction) -> None:
        self._tx = tx
        self._nonce = None
        self._free()
        self._rooms.clear()
        self._held.clear()
        self._found.clear()
        self._assigned.clear()
        self._unreadable.clear()
        if self._doubtful:
            await self._find_leases()

    async def _find_leases(self) -> None:
        """Find the leases that attempts in doubt have committed."""
        states = await self._states.lock(self._tx, self._doubtful)
        for task_id, state in states.items():
            for place in self._doubtful[task_id]:
                if _has(state.row, place):
                    self._found.append((place, Step(state.row), state.definition))

    # -- placing ---------------------------------------------------------------------------

    async def place(self, changes: Iterable[Change]) -> None:
        reserved = [
            (change, place)
            for change in sorted(filter(_is_ready, changes), key=lambda c: _turn(c.step.row))
            if (place := self._reserve(change)) is not None
        ]
        if not reserved:
            return
        await self._hold({place.session for _, place in reserved})
        for change, place in reserved:
            if self._held[place.session]:
                self._lease(change, place)
            else:
                self._leave(change.step.row.id)

    def _reserve(self, change: Change) -> Place | None:
        """Reserve a place in the session with the most free places."""
        row, definition = change.step.row, change.definition
        known = self._places.get(row.id)
        if known is not None:  # the task is inserted a second time
            return known
        session = self._streams.free_session(row, definition)
        if session is None:
            return None
        room = self._rooms.get(session)
        if room is None:
            room = self._rooms[session] = Room(session.free, session.untaken)
        if not room.take(TaskState(row, definition)):
            return None
        if self._nonce is None:
            self._nonce = self._dice.nonce()
        place = self._places[row.id] = Place(session, self._nonce)
        session.reserve(self._nonce)
        return place

    async def _hold(self, sessions: set[Session]) -> None:
        new = {s.executor_id: s.nonce for s in sessions if s not in self._held}
        if not new:
            return
        held = await self._tx.hold_sessions(new)
        await self._pauses.refresh(self._tx)
        self._held |= {session: session.executor_id in held for session in sessions}

    def _lease(self, change: Change, place: Place) -> None:
        step = change.step
        state = TaskState(
            step.row,
            change.definition,
            pauses=self._states.pauses,
            grace_seconds=self._states.grace_seconds,
        )
        acquired = Acquired(executor_id=place.session.executor_id, nonce=place.nonce)
        try:
            leased = advance(state, acquired, self._tx.now)
        except Exception:  # the task stays ready, and its stream meets and reports the same error
            self._leave(step.row.id)
        else:
            step.go_on(leased)

    # -- sending ---------------------------------------------------------------------------

    async def assign(self, changes: Iterable[Change]) -> None:
        if not self._places and not self._found:
            return
        last = {change.step.row.id: change for change in changes}
        leased = [
            (place, change.step, change.definition)
            for task_id, place in self._places.items()
            if (change := last.get(task_id)) is not None
            and not change.step.deleted
            and _has(change.step.row, place)
        ]
        leased += self._found
        leased.sort(key=lambda one: _turn(one[1].row))
        assignments, unreadable = await assign(
            self._tx,
            [
                Leased(step, made, session.methods.get(step.row.app_name), session.fills)
                for (session, _), step, made in leased
            ],
        )
        sessions = {step.row.id: place.session for place, step, _ in leased}
        for assignment in assignments:
            self._assigned.setdefault(sessions[assignment.id], []).append(assignment)
        self._unreadable += [
            (place.session, lease_of(step.row))
            for place, step, _ in leased
            if step.row.id in unreadable
        ]

    def in_doubt(self) -> None:
        for task_id, place in self._places.items():
            self._doubtful.setdefault(task_id, []).append(place)
        self._places.clear()

    def send(self) -> None:
        self._free_doubtful()
        for session, assignments in self._assigned.items():
            if session.open:
                session.push(assignments)
            else:
                self._streams.take_back(session, assignments)
        for session, lease in self._unreadable:  # it fails when its stream meets the same problem
            self._streams.take_back(session, [lease])

    def end(self) -> None:
        self._free()
        for session in self._free_doubtful():
            # Leases may have been committed but not sent; the next connect returns them.
            self._close(session)

    def _leave(self, task_id: str) -> None:
        place = self._places.pop(task_id)
        place.session.release(place.nonce)

    def _free_doubtful(self) -> set[Session]:
        """Free the places of attempts in doubt, and return their sessions."""
        places = [place for some in self._doubtful.values() for place in some]
        self._doubtful.clear()
        for place in places:
            place.session.release(place.nonce)
        return {place.session for place in places}

    def _free(self) -> None:
        for task_id in list(self._places):
            self._leave(task_id)


def _is_ready(change: Change) -> bool:
    """Whether a change makes a task ready that may be leased at once. A task that leaves an
    executor goes through its stream: the executor learns first that its lease has ended."""
    step, definition = change.step, change.definition
    if not step.changed or step.deleted or step.row.ready != READY:
        return False
    if step.row.status is not TaskStatus.QUEUED or definition.slot_key is not None:
        return False
    if definition.unique is not None and definition.unique.scope == "queued":
        return False
    before = change.before
    return before is None or (before.executor_id is None and not before.ready)


def _turn(row: Row) -> tuple[int, float, str]:
    """The place of a task in the order of its stream."""
    return -row.priority, row.queued_at or 0.0, row.id


def _has(row: Row, place: Place) -> bool:
    """Whether a task is leased to a place."""
    return row.nonce == place.nonce and row.executor_id == place.session.executor_id


def placements(
    streams: Streams,
    states: States,
    pauses: PauseBook,
    dice: Dice,
    close: Callable[[Session], None],
) -> Callable[[], Placement]:
    """Make a placement for each transaction.

    :param close: closes a session whose leases may have been committed but were not sent
    """
    return lambda: Placement(streams, states, pauses, dice, close)
