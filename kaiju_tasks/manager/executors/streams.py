"""Pushes queued tasks to executors with free capacity.

A stream is *pending* while it may have tasks that can be acquired. Queued tasks, freed capacity
and the wake-ups of other managers make a stream pending; the loop serves pending streams until
none is left.

A task whose method the looking executor lacks goes to the gate of this method. Executors that have
the method acquire it there, together with the ready tasks of the stream.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence

from kaiju_tasks.lifecycle import Definition, Row, given_back
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.executors.acquisition import Acquisition, Found
from kaiju_tasks.manager.executors.method_gates import MethodGates
from kaiju_tasks.manager.executors.methods import lacks
from kaiju_tasks.manager.executors.sessions import Session, Sessions
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.protocol import Assignment, Lease
from kaiju_tasks.types import ExecutorStatus

READY, SUSPECT = 1, 2
SHARE_AMONG_MANY = 8
"""Of several free executors, one gets this part of its free places at first, so that a short
backlog is divided among them. Each time that more tasks are left, the part is twice as large."""
PARTS = 4
"""The free places of an executor are filled with so many acquisitions: the manager leases the tasks
of one while the executor runs, and the database writes, those of others."""
PART_MIN = 32
"""Fewer tasks cost more each in a transaction than the parts gain."""
OUTAGE_PAUSE_SECONDS = 0.5
LOCKED_AFTER_REFUSAL = 16
"""The number of acquisitions from a stream that lock at once after its tasks were presumed wrongly:
other managers take from it, too, or its tasks need more than their rows."""


class Streams:
    """Pushes the tasks of every stream that this manager's executors serve.

    :param batch_rows: maximum number of tasks in a transaction
    :param parallel: whether transactions run at the same time
    :param reconcile: applies what the store says of a session that it refused tasks
    :param gates: the gates of methods at which tasks wait
    :ivar locked_after_refusal: how many acquisitions lock at once after a wrong presumption
    :ivar on_call: by stream, a function that starts its executor when the stream has work and no
        executor serves it
    """

    def __init__(
        self,
        committer: Committer,
        sessions: Sessions,
        pauses: PauseBook,
        dice: Dice,
        batch_rows: int,
        parallel: bool,
        reconcile: Callable[[Session], Awaitable[None]],
        gates: MethodGates,
    ) -> None:
        self._gates = gates
        self._committer = committer
        self._pauses = pauses
        self._sessions = sessions
        self._dice = dice
        self._batch_rows = batch_rows
        self._parts = PARTS if parallel else 1
        self._reconcile = reconcile
        self._pending: set[str] = set()
        self._suspect: set[str] = set()
        self._has_held: set[str] = set()
        self._fitting: dict[str, int] = {}
        self._shares: dict[str, int] = {}
        self._locking: dict[str, int] = {}
        self.locked_after_refusal = LOCKED_AFTER_REFUSAL
        self._served_last = ""
        self._acquiring: str | None = None
        self._unsent: list[tuple[Session, Sequence[Assignment | Lease]]] = []
        self.on_call: dict[str, Callable[[], None]] = {}
        self._work = asyncio.Event()
        sessions.on_free = self.credit
        self._loop = Loop(
            "pushing tasks",
            wait=self._until_pending,
            work=self._serve_all,
            retry_seconds=OUTAGE_PAUSE_SECONDS,
        )

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    def feed(self, app_name: str, ready: int = READY) -> None:
        """Mark a stream as pending: it may have tasks that can be acquired."""
        (self._suspect if ready == SUSPECT else self._pending).add(app_name)
        self._work.set()

    def feed_all(self, ready: frozenset[str], suspect: frozenset[str]) -> None:
        """Mark streams as pending.

        :param ready: streams that have ready tasks in the store
        :param suspect: streams that have suspect tasks in the store
        """
        self._suspect &= suspect
        for session in self._sessions:
            if session.reserved_for not in suspect | self._gates.suspect():
                session.reserved_for = None
        if ready or suspect:
            self._pending |= ready
            self._suspect |= suspect
            self._work.set()

    def feed_gate(self, app_name: str, gate: str) -> bool:
        """Take note of a task that waits for an executor with its method. Returns whether one of
        this manager has free capacity for it."""
        sessions = self._sessions.serving(app_name)
        having = [s for s in sessions if s.gates_among(app_name, (gate,))]
        if having:
            self._gates.add(app_name, gate)
            self._work.set()
        return any(s.free > 0 for s in having)

    def gates_seen(self) -> None:
        """Take note that tasks wait at gates of methods, for executors of any manager."""
        self._gates.seen(asyncio.get_running_loop().time())
        if self._gates.stale:
            self._work.set()

    def want_gates(self, *, known: bool = False) -> None:
        """Look for tasks that wait at gates of methods: an executor has come.

        :param known: whether it is known that there are such tasks
        """
        self._gates.wanted = True
        if known:
            self.gates_seen()

    @property
    def gated(self) -> bool:
        """Whether tasks may wait at gates of methods for which this manager has executors."""
        return bool(self._gates)

    def credit(self) -> None:
        """Serve the pending streams: an executor has free capacity."""
        if self._pending or self._suspect or self._gates:
            self._work.set()

    def covers(self, app_name: str) -> bool:
        """Whether this manager's executors have free capacity for a stream."""
        serving = self._sessions.serving(app_name)
        if not serving:
            return app_name in self.on_call
        return any(session.free > 0 for session in serving)

    def free_session(self, row: Row, definition: Definition) -> Session | None:
        """The session with the most free places for a task that need not go through its stream;
        None if there is none, or if the stream may have a backlog."""
        app_name = row.app_name
        if app_name in self._pending or app_name in self._suspect or app_name == self._acquiring:
            return None
        serving = self._sessions.serving(app_name)
        if not serving:
            return None
        waiting = self._gates.of(app_name)
        free = [
            s
            for s in serving
            if s.free > 0
            and not lacks(s.methods.get(app_name), definition, row.stage)
            and not (waiting and s.gates_among(app_name, waiting))
        ]
        return max(free, key=lambda s: s.free, default=None)

    def take_back(self, session: Session, leases: Sequence[Assignment | Lease]) -> None:
        """Return leases that were not sent, in the background."""
        self._unsent.append((session, leases))
        self._work.set()

    def served(self) -> set[str]:
        """The streams whose tasks this manager can push, including those of on-call executors."""
        return self._sessions.app_names() | self.on_call.keys()

    def _start_on_call(self, app_name: str) -> None:
        start = self.on_call.get(app_name)
        if start is not None:
            start()

    async def _until_pending(self) -> None:
        await self._work.wait()
        self._work.clear()

    async def _serve_all(self) -> None:
        while self._unsent:
            session, leases = self._unsent[0]
            await self._give_back(session.executor_id, leases)
            del self._unsent[0]
        busy = True
        while busy:
            busy = False
            if self._gates.stale:
                busy = await self._gates.read(self._sessions)
            for app_name in sorted(self._suspect | self._gates.suspect()):
                busy |= await self._serve_suspect(app_name)
            for app_name in self._in_turn():
                busy |= await self._serve(app_name)

    def _in_turn(self) -> list[str]:
        """Pending streams in round-robin order, so that none takes all the free capacity."""
        names = sorted(self._pending | self._gates.streams())
        turn = bisect_right(names, self._served_last)
        return names[turn:] + names[:turn]

    async def _serve(self, app_name: str) -> bool:
        """Push once. Returns False if no executor is free or there is nothing to push."""
        serving = self._sessions.serving(app_name)
        if not serving:  # an executor that connects makes its streams pending
            self._pending.discard(app_name)
            self._gates.forget(app_name)
            self._start_on_call(app_name)
            return False
        free = [s for s in serving if s.free > 0]
        waiting = self._gates.of(app_name)
        if app_name not in self._pending:
            free = [s for s in free if s.gates_among(app_name, waiting)]
        if not free:
            return False
        session = max(free, key=lambda s: s.free)
        gates = session.gates_among(app_name, waiting)
        parts = 1 if app_name in self._has_held else self._parts
        part = max(PART_MIN, session.capacity // parts)
        limit = min(session.free, part, self._fitting.get(app_name, self._batch_rows))
        share = self._shares.get(app_name, SHARE_AMONG_MANY)
        if len(free) > 1:
            limit = min(limit, max(1, session.free // share))
        self._pending.discard(app_name)
        found = await self._acquire(session, app_name, limit, READY, gates, self._pending)
        if found.looked:
            self._served_last = app_name
        if found.more:
            self._shares[app_name] = max(1, share // 2)
            self._pending.add(app_name)
            return True
        self._shares.pop(app_name, None)
        return bool(found.looked)

    async def _serve_suspect(self, app_name: str) -> bool:
        """Push a suspect task, which runs alone, to an idle executor. If none is idle, reserve
        one until its leases have ended."""
        serving = self._sessions.serving(app_name)
        if not serving:
            self._suspect.discard(app_name)
            self._start_on_call(app_name)
        waiting = self._gates.of(app_name, suspect=True)
        sessions = [
            s
            for s in serving
            if (app_name in self._suspect or s.gates_among(app_name, waiting))
            and s.status is ExecutorStatus.ACTIVE
            and s.capacity > 0
            and not s.congested
            and not s.resting
            and s.alone not in s.leases
            and s.reserved_for in (None, app_name)
        ]
        if not sessions:
            return False
        session = min(sessions, key=lambda s: (s.reserved_for is None, len(s.leases)))
        session.reserved_for = app_name
        if session.leases:
            return False
        gates = session.gates_among(app_name, waiting)
        if not gates:
            self._suspect.discard(app_name)
        found = await self._acquire(session, app_name, 1, SUSPECT, gates, self._suspect)
        session.reserved_for = None
        if found.looked:
            session.alone = next(iter(session.leases), None)
        if (found.looked or found.short) and not gates:
            self._suspect.add(app_name)
        return True

    async def _acquire(
        self,
        session: Session,
        app_name: str,
        places: int,
        ready: int,
        gates: Sequence[str],
        feed_again: set[str],
    ) -> Found:
        """Lease up to `places` tasks to an executor and push them. Tasks that must wait for a
        slot, for the end of a pause or for another executor are held.

        :param gates: gates of methods that the executor has
        """
        nonce = self._dice.nonce()
        session.reserve(nonce, places)
        self._acquiring = app_name
        acquisition = Acquisition(
            self._committer,
            self._pauses,
            session,
            app_name,
            nonce,
            places=places,
            limit=max(places, self._batch_rows) if app_name in self._has_held else places,
            ready=ready,
            gates=gates,
        )
        self._gates.discard(app_name, gates)
        try:
            found = await self._attempt(
                acquisition, app_name, places, plain=ready == READY and not gates
            )
        except BaseException:
            feed_again.add(app_name)
            for gate in gates:
                self._gates.add(app_name, gate)
            if acquisition.tried:
                # Leases may have been committed but not sent; the next connect returns them.
                self._sessions.close(session)
            raise
        finally:
            session.release(nonce, places)
            self._acquiring = None
        for gate in gates if found.more else ():
            self._gates.add(app_name, gate)
        (self._has_held.add if found.held else self._has_held.discard)(app_name)
        self._fit(app_name, found)
        if found.session_over:
            await self._reconcile(session)
        elif found.assignments and session.open:
            session.push(found.assignments)
        elif found.assignments:
            await self._give_back(session.executor_id, found.assignments)
        if found.short:
            session.wait_until_taken()
        return found

    async def _attempt(
        self, acquisition: Acquisition, app_name: str, places: int, *, plain: bool
    ) -> Found:
        """Make an acquisition. Most take the first tasks of a stream, and nobody else takes them:
        they are read without locks, and leased if they are unchanged (decision 0055).

        :param plain: whether ready tasks are looked for, and at no gates
        """
        if left := self._locking.pop(app_name, 0):
            if left > 1:
                self._locking[app_name] = left - 1
            plain = False
        if not plain or app_name in self._has_held:
            return await self._committer.transact(
                acquisition.attempt, in_doubt=acquisition.in_doubt
            )
        rows = await self._committer.ready_tasks(app_name, places)
        if rows is not None and not rows:
            return Found()
        found = await self._committer.transact(
            acquisition.attempt,
            presume=rows is not None,
            ready=rows or (),
            in_doubt=acquisition.in_doubt,
        )
        if rows is None or acquisition.attempts > 1:
            self._locking[app_name] = self.locked_after_refusal
        return found

    def _fit(self, app_name: str, found: Found) -> None:
        """Lock as many tasks as could be sent the last time, if not all could be."""
        if found.short:
            self._fitting[app_name] = max(1, len(found.assignments))
        elif app_name in self._fitting:
            self._fitting[app_name] *= 2
            if self._fitting[app_name] >= self._batch_rows:
                del self._fitting[app_name]

    async def _give_back(self, executor_id: str, leases: Sequence[Assignment | Lease]) -> None:
        """Return leases that were not sent."""
        await self._committer.apply_all(
            [(lease.id, given_back(executor_id, epoch=lease.epoch)) for lease in leases]
        )
