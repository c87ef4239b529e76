"""Keeps the sessions of connected executors: their capacity, leases and connection."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from kaiju_tasks.manager.executors.frames import frames
from kaiju_tasks.manager.executors.methods import ANY, Methods, common, gates_of
from kaiju_tasks.manager.executors.processes import LocalProcess
from kaiju_tasks.protocol import (
    Ack,
    Assignment,
    DrainParams,
    Lease,
    Report,
    ResumeParams,
    RevokeParams,
    RunParams,
)
from kaiju_tasks.rpc import encode_notification
from kaiju_tasks.types import ExecutorStatus

GONE = (ExecutorStatus.LOST, ExecutorStatus.GONE)


class Connection(Protocol):
    """The manager's end of a socket. No method blocks."""

    def send(self, frame: bytes, taken: Callable[[], None] | None = None) -> None:
        """Send a frame.

        :param taken: called when the other end has taken the frame, or its socket has
        """
        ...

    def offer(self, frame: bytes) -> bool:
        """Send a frame unless the send buffer is full. Returns whether it was accepted."""
        ...

    def close(self) -> None: ...


class Filler(Protocol):
    """Fills the commands of an executor that leaves it to the manager.

    :ivar unsent: leases that are pushed, but not sent yet
    """

    unsent: set[Lease]

    def push(self, assignments: Sequence[Assignment]) -> None:
        """Send assignments of one command each, filled, as the executor takes them."""
        ...

    def taken(self) -> None:
        """The executor has taken some of what it was sent."""
        ...

    async def follow(
        self, reports: Sequence[Report], acks: Sequence[Ack], outcomes: Sequence[Any]
    ) -> list[Ack]:
        """Add the next commands to the acknowledgements of reports."""
        ...


class Session:
    """One executor's connection: its free capacity, and the leases pushed through it.

    A suspect task runs alone. `reserved_for` is the stream that waits until the executor holds
    no lease; `alone` is the id of the suspect task that runs there afterwards.

    :param nonce: the session id in the store; the next connect of the executor replaces it
    :param capacity: maximum number of leases
    :param methods: the methods that the executor has, by stream
    :ivar owner: the principal on whose behalf the executor has connected
    :ivar untaken: bytes of assignments that were sent and that the executor has not taken
    :ivar congested: whether a task waits until the executor has taken all that was sent
    :ivar resting: whether the executor gets no tasks because it came and went without useful work
    :ivar on_free: called when the session is not congested or resting any more
    :ivar filler: fills the commands of the executor, if the executor does not
    :ivar process: the process of the executor, if it is known and on this machine
    :ivar acquiring: how many places are reserved for leases that are being acquired and were not
        pushed yet, by nonce
    :ivar differing: leases that either the session or the executor lacks, with the number of pings
        in a row that said so and the time of the first one (seconds of the event loop)
    """

    def __init__(
        self,
        executor_id: str,
        nonce: str,
        connection: Connection,
        app_names: Iterable[str],
        capacity: int,
        status: ExecutorStatus,
        methods: Mapping[str, Methods] = ANY,
    ) -> None:
        self.methods = methods
        self._gates: dict[str, frozenset[str] | None] = {}
        self._methods_of_leases: dict[str, Mapping[str, Methods]] = {}
        self.owner: str | None = None
        self.executor_id = executor_id
        self.nonce = nonce
        self.connection = connection
        self.app_names = frozenset(app_names)
        self.capacity = capacity
        self.status = status
        self.leases: dict[str, Lease] = {}
        self.untaken = 0
        self.congested = False
        self.resting = False
        self.on_free: Callable[[], None] = lambda: None
        self.filler: Filler | None = None
        self.process: LocalProcess | None = None
        self.acquiring: Counter[str] = Counter()
        self.differing: dict[Lease, tuple[int, float]] = {}
        self.reserved_for: str | None = None
        self.alone: str | None = None
        self.open = True

    @property
    def fills(self) -> bool:
        """Whether the manager fills the commands of the executor."""
        return self.filler is not None

    @property
    def free(self) -> int:
        """The number of additional tasks that the executor can take."""
        if self.status is not ExecutorStatus.ACTIVE or self.reserved_for is not None:
            return 0
        if self.congested or self.resting or self.alone in self.leases:
            return 0
        return self.capacity - len(self.leases) - self.acquiring.total()

    def reserve(self, nonce: str, places: int = 1) -> None:
        """Keep places for leases with this nonce, which are being acquired."""
        self.acquiring[nonce] += places

    def release(self, nonce: str, places: int = 1) -> None:
        """Free places: their leases were pushed, or not acquired."""
        self.acquiring[nonce] -= places
        if self.acquiring[nonce] <= 0:
            del self.acquiring[nonce]

    def gates_among(self, app_name: str, gates: Iterable[str]) -> list[str]:
        """The gates of methods that this executor has for a stream."""
        if app_name not in self._gates:
            self._gates[app_name] = gates_of(self.methods.get(app_name))
        own = self._gates[app_name]
        return [gate for gate in gates if own is None or gate in own]

    def keep(self, leases: Iterable[Lease], methods: Mapping[str, Methods]) -> None:
        """Continue leases that were given to the executor while it had other methods. What it was
        sent of these tasks ends before the first method that it did not have then."""
        self.leases = {lease.id: lease for lease in leases}
        if methods != self.methods:
            both = common(methods, self.methods)
            self._methods_of_leases = dict.fromkeys(self.leases, both)

    def methods_of(self, lease: Lease) -> Mapping[str, Methods]:
        """The methods, by stream, that the executor had whenever it was sent a part of a task."""
        return self._methods_of_leases.get(lease.id, self.methods)

    def has(self, lease: Lease) -> bool:
        return self.leases.get(lease.id) == lease

    def lacks(self, lease: Lease) -> bool:
        """Whether a lease of the executor was not pushed, and is not about to be."""
        return lease.nonce not in self.acquiring and not self.has(lease)

    def push(self, assignments: Sequence[Assignment]) -> None:
        for a in assignments:
            if self._methods_of_leases:
                self._methods_of_leases.pop(a.id, None)
            self.leases[a.id] = Lease(a.id, a.job_id, a.epoch, a.nonce)
        if self.filler is None:
            self.transmit(assignments)
        else:
            self.filler.push(assignments)

    def transmit(self, assignments: Sequence[Assignment]) -> None:
        """Send assignments whose leases are pushed."""
        for frame in frames(assignments, _encode_run):
            self.untaken += len(frame)
            self.connection.send(frame, partial(self.taken, len(frame)))

    def wait_until_taken(self) -> None:
        """Take no tasks until the executor has taken those that were sent."""
        self.congested = self.untaken > 0

    def rest(self, seconds: float) -> None:
        """Take no tasks for some time."""
        self.resting = True
        asyncio.get_running_loop().call_later(seconds, self._rested)

    def _rested(self) -> None:
        self.resting = False
        if self.open:
            self.on_free()

    def taken(self, size: int) -> None:
        """Count bytes that the executor has taken."""
        self.untaken -= size
        if self.filler is not None:
            self.filler.taken()
        if self.congested and not self.untaken:
            self.congested = False
            self.on_free()

    def revoke(self, leases: list[Lease]) -> None:
        """Order the executor to stop these runs, and free their capacity."""
        for lease in leases:
            self.drop(lease)
        for frame in frames(leases, _encode_revoke):
            self.connection.send(frame)

    def drop(self, lease: Lease) -> None:
        if self.has(lease):
            del self.leases[lease.id]
            if self._methods_of_leases:
                self._methods_of_leases.pop(lease.id, None)
            self.cleared(lease)

    def cleared(self, lease: Lease) -> None:
        """Let other tasks run beside this one: its suspect stage has ended."""
        if self.alone == lease.id:
            self.alone = None

    def change_status(self, status: ExecutorStatus) -> None:
        """Set the status that an operator has given the executor, and notify the executor."""
        self.status = status
        if status is ExecutorStatus.DRAINING:
            drain = DrainParams("requested by an operator")
            self.connection.send(encode_notification("executor.drain", drain))
        elif status is ExecutorStatus.ACTIVE:
            self.connection.send(encode_notification("executor.resume", ResumeParams()))


def _encode_run(assignments: Sequence[Assignment]) -> bytes:
    return encode_notification("executor.run", RunParams(list(assignments)))


def _encode_revoke(leases: Sequence[Lease]) -> bytes:
    return encode_notification("executor.revoke", RevokeParams(list(leases)))


class Sessions:
    """The sessions of this manager, by executor id.

    :ivar on_free: called when a session that had no room for a task has room again
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self.on_free: Callable[[], None] = lambda: None

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
        session.on_free = self.on_free
        self._by_id[session.executor_id] = session

    def remove(self, session: Session) -> None:
        session.open = False
        if self._by_id.get(session.executor_id) is session:
            del self._by_id[session.executor_id]

    def close(self, session: Session) -> None:
        """End a session and close its connection. The executor has to reconnect."""
        self.remove(session)
        session.connection.close()

    def serving(self, app_name: str) -> list[Session]:
        return [s for s in self._by_id.values() if app_name in s.app_names and s.open]

    def app_names(self) -> set[str]:
        return {name for session in self._by_id.values() for name in session.app_names}
