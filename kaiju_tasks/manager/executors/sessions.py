"""Executors connected to this manager, and what they hold."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from kaiju_tasks.protocol import Assignment, DrainParams, Lease, RevokeParams, RunParams
from kaiju_tasks.rpc import encode_notification
from kaiju_tasks.types import ExecutorStatus


class Connection(Protocol):
    """The manager's end of a socket. No method waits."""

    def send(self, frame: bytes) -> None: ...

    def offer(self, frame: bytes) -> bool:
        """Send a frame, unless too much that was offered still waits: then False."""
        ...

    def close(self) -> None: ...


class Session:
    """One executor's connection: a credit of free places, and the leases pushed through it.

    :param nonce: the session id that the store knows; another connect replaces it

    A suspect task runs alone: `reserved_for` is the stream that waits until the executor has
    nothing left to lose, `alone` the task that then runs there.
    """

    def __init__(
        self,
        executor_id: str,
        nonce: str,
        connection: Connection,
        app_names: Iterable[str],
        capacity: int,
        status: ExecutorStatus,
    ) -> None:
        self.executor_id = executor_id
        self.nonce = nonce
        self.connection = connection
        self.app_names = frozenset(app_names)
        self.capacity = capacity
        self.status = status
        self.leases: dict[str, Lease] = {}
        self.reserved_for: str | None = None
        self.alone: str | None = None
        self.open = True

    @property
    def free(self) -> int:
        """Places for work that may run beside other work."""
        if self.status is not ExecutorStatus.ACTIVE or self.reserved_for is not None:
            return 0
        if self.alone in self.leases:
            return 0
        return self.capacity - len(self.leases)

    def push(self, assignments: Sequence[Assignment]) -> None:
        for a in assignments:
            self.leases[a.id] = Lease(a.id, a.job_id, a.epoch, a.nonce)
        self.connection.send(encode_notification("executor.run", RunParams(list(assignments))))

    def revoke(self, leases: list[Lease]) -> None:
        """Tell the executor to stop; its places are free again."""
        for lease in leases:
            self.drop(lease)
        self.connection.send(encode_notification("executor.revoke", RevokeParams(leases)))

    def drop(self, lease: Lease) -> None:
        if self.leases.get(lease.id) == lease:
            del self.leases[lease.id]
            self.cleared(lease)

    def cleared(self, lease: Lease) -> None:
        """The suspect stage is over: others may run beside its task, and beside its next lease."""
        if self.alone == lease.id:
            self.alone = None

    def drain(self, reason: str) -> None:
        self.status = ExecutorStatus.DRAINING
        self.connection.send(encode_notification("executor.drain", DrainParams(reason)))


class Sessions:
    """The sessions of this manager, by executor."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, executor_id: str) -> Session | None:
        return self._by_id.get(executor_id)

    def add(self, session: Session) -> None:
        old = self._by_id.get(session.executor_id)
        if old is not None:
            old.open = False
            if old.connection is not session.connection:
                old.connection.close()
        self._by_id[session.executor_id] = session

    def remove(self, session: Session) -> None:
        session.open = False
        if self._by_id.get(session.executor_id) is session:
            del self._by_id[session.executor_id]

    def close(self, session: Session) -> None:
        """End a session and its connection: the executor has to connect anew."""
        self.remove(session)
        session.connection.close()

    def serving(self, app_name: str) -> list[Session]:
        return [s for s in self._by_id.values() if app_name in s.app_names and s.open]

    def app_names(self) -> set[str]:
        return {name for session in self._by_id.values() for name in session.app_names}
