"""One acquisition: tasks of a stream are leased to an executor, in a transaction of their own."""

from collections.abc import Sequence
from typing import NamedTuple

from kaiju_tasks.lifecycle import Acquired, Event, Row, SlotFull, Step, TaskState
from kaiju_tasks.manager.executors.assignments import assign
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.writing.changes import Change, Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.slots import Slots
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import TaskStatus


class Found(NamedTuple):
    """What an acquisition met.

    :param assignments: leased tasks, to be pushed
    :param held: tasks that must wait for a slot or the end of a pause
    :param more: there may be more of them
    :param session_over: the session may acquire no more: the executor is connected elsewhere
    """

    assignments: Sequence[Assignment] = ()
    held: int = 0
    more: bool = False
    session_over: bool = False

    @property
    def looked(self) -> int:
        """How many tasks were leased or held."""
        return len(self.assignments) + self.held


class Acquisition:
    """Leases tasks of a stream to the executor of a session.

    :param nonce: of the leases
    :param places: tasks to lease, at most
    :param limit: tasks to look at, at most
    :param ready: 1 for ordinary tasks, 2 for suspect ones
    :ivar tried: an earlier try of unknown outcome may have leased tasks
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
    ) -> None:
        self._committer = committer
        self._pauses = pauses
        self._session = session
        self._app_name = app_name
        self._nonce = nonce
        self._places = places
        self._limit = limit
        self._ready = ready
        self._acquired = Acquired(executor_id=session.executor_id, nonce=nonce)
        self.tried = False

    async def attempt(self, tx: Transaction) -> Written[Found]:
        """One try. A later one first looks for what an earlier one may have committed."""
        if self.tried:
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
        )
        if rows is None:
            return Written(Found(more=True, session_over=True), [])
        if not rows:
            return Written(Found(), [])
        return await self._lease(tx, rows)

    async def _leased_before(self, tx: Transaction) -> list[Assignment]:
        rows = await tx.lock_leased(self._session.executor_id)
        states = await self._committer.states.load(tx, [r for r in rows if r.nonce == self._nonce])
        return await assign(tx, [(Step(s.row), s.definition) for s in states.values()])

    async def _lease(self, tx: Transaction, rows: Sequence[Row]) -> Written[Found]:
        """Lease as many of some locked tasks as there are places; hold those that must wait."""
        await self._pauses.refresh(tx)
        states = await self._committer.states.load(tx, rows)
        slots = Slots(self._committer.states, tx)
        admitted, full = await slots.admit(states.values(), self._places)

        def event(state: TaskState) -> Event:
            return SlotFull() if state.row.id in full else self._acquired

        looked_at = [states[id] for id in (*admitted, *full)]
        changes = self._committer.states.advance(tx, looked_at, event)
        leased = [(c.step, c.definition) for c in changes if _is_leased(c)]
        looked = len(changes)  # less than all: no places left, or a fault of ours
        found = Found(
            await assign(tx, leased),
            held=looked - len(leased),
            more=looked > 0 and (len(rows) == self._limit or looked < len(rows)),
        )
        await self._committer.save(tx, changes, slots)
        return Written(found, changes)


def _is_leased(change: Change) -> bool:
    return change.step.row.status is TaskStatus.EXECUTED
