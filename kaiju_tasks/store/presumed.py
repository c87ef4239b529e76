"""Defines transactions that presume what the database holds, and write in one round trip.

A manager often knows all that a transaction would read: the id of a new task is free, and the row
of a task that its executor runs is as the manager has last written it. Such a transaction runs
without the database. Its writes then go to the database in one statement, which writes nothing if
one of the presumptions does not hold. In that case the transaction is repeated with locks
(decision 0033).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kaiju_tasks.lifecycle import Row, Step
from kaiju_tasks.store.one_step import refuse_repeated

VALID_SECONDS = 2.0
"""A statement that reaches the database later than this after it was sent writes nothing. Whoever
waits as long after its connection broke knows that it will not be written any more."""


class NotPresumable(Exception):
    """The transaction needs what only the database knows."""


class Presumed(Struct):
    """What a presumed transaction writes, all or nothing. One of the two lists is empty.

    :param inserted: new tasks, whose ids must be free
    :param saved: changed tasks, whose effects are attempts and runs at most
    :param before: the rows of `saved` before the change, in the same order. The database must hold
        the same `rev` and `version`, unlocked.
    :param sessions: by executor id; they must be ACTIVE and unlocked. They are share-locked as by
        `Transaction.hold_sessions`.
    :param pauses_revision: must be the stored one, if there are sessions
    :param clock_revision: must be that of the store, by whose clock the times were computed
    """

    inserted: list[Step]
    saved: list[Step]
    before: list[Row]
    sessions: dict[str, str]
    pauses_revision: int
    clock_revision: int


class PresumedTransaction:
    """Collects the writes of a transaction. It offers those methods of `Transaction` that need no
    database; all others raise NotPresumable.

    :param now: the store's clock, UNIX seconds
    :param clock_revision: that of the store at this time
    :param known: the row of a task as this manager has last seen it, or None
    :param pauses_revision: the revision of the pauses that this manager knows
    :param ready: tasks of a stream, as they were just read, for `lock_ready`
    """

    def __init__(
        self,
        now: float,
        clock_revision: int,
        known: Callable[[str], Row | None],
        pauses_revision: int,
        ready: Sequence[Row] = (),
    ) -> None:
        self.now = now
        self._clock_revision = clock_revision
        self.pauses_revision = pauses_revision
        self._sessions: dict[str, str] = {}
        self._known = known
        self._before: dict[str, Row] = {}
        self._ready = {row.id: row for row in ready}
        self._inserted: list[Step] = []
        self._saved: list[Step] = []

    def __getattr__(self, name: str) -> Any:
        raise NotPresumable(name)

    async def lock(self, ids: Iterable[str]) -> dict[str, Row]:
        rows: dict[str, Row] = {}
        for task_id in ids:
            if (row := self._known(task_id)) is None or task_id in self._before:
                raise NotPresumable(task_id)
            rows[task_id] = row
        self._before |= rows
        return rows

    async def lock_ready(
        self, app_name: str, limit: int, *, executor_id: str, session: str, **_: Any
    ) -> list[Row]:
        """The ready tasks that were read. Those that are left as they are decide nothing, and are
        not compared."""
        if not self._ready:
            raise NotPresumable("lock_ready")
        self._sessions[executor_id] = session
        return list(self._ready.values())

    async def hold_sessions(self, sessions: Mapping[str, str]) -> set[str]:
        self._sessions |= sessions
        return set(sessions)

    async def insert(self, steps: Sequence[Step]) -> set[str]:
        refuse_repeated(steps)
        if not all(_is_plain(step) and not step.attempts and not step.runs for step in steps):
            raise NotPresumable("insert")
        self._inserted += steps
        return set()

    async def save(self, steps: Sequence[Step]) -> None:
        refuse_repeated(steps)
        if (ready := self._ready) and steps:
            self._before |= {id: ready[id] for step in steps if (id := step.row.id) in ready}
        for step in steps:
            if step.definition is not None or not _is_plain(step):
                raise NotPresumable("save")
        self._saved += steps

    @property
    def read(self) -> Iterable[str]:
        """The ids of the tasks that were read."""
        return self._before

    @property
    def writes(self) -> Presumed:
        """The collected writes."""
        before = [self._before[step.row.id] for step in self._saved]
        return Presumed(
            self._inserted,
            self._saved,
            before,
            self._sessions,
            self.pauses_revision,
            self._clock_revision,
        )

    def check(self) -> None:
        """:raises NotPresumable: there is nothing to write, or a row was read but is not saved, so
        that nothing would compare it, or is saved twice; or there are both new and changed tasks"""
        if bool(self._saved) == bool(self._inserted):
            raise NotPresumable("nothing, or both kinds of writes")
        saved = [step.row.id for step in self._saved]
        if len(saved) != len(self._before) or set(saved) != self._before.keys():
            raise NotPresumable("a row is only read, or saved twice")


def _is_plain(step: Step) -> bool:
    """Whether the effects of a step in the database are its row, attempts and runs at most."""
    return (
        not step.deleted
        and step.notification is None
        and step.copy_results is None
        and step.inbox == "keep"
        and step.message is None
        and not step.consumed
        and step.received is None
        and step.claim is None
        and step.run_end is None
        and not step.signal
    )
