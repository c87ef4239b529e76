"""Executor streams: queued tasks are pushed to executors that have places free.

A stream is *hungry* when it may have tasks that can be acquired. Whoever queues a task, frees
a place or hears of another manager's work says so; the loop serves until nothing is left.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence

from kaiju_tasks.lifecycle import given_back
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.executors.acquisition import Acquisition, Found
from kaiju_tasks.manager.executors.sessions import Session, Sessions
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.types import ExecutorStatus

READY, SUSPECT = 1, 2
SHARE_AMONG_MANY = 8
OUTAGE_PAUSE_SECONDS = 0.5


class Streams:
    """Pushes tasks of every stream that this manager's executors serve.

    :ivar on_call: streams whose executor comes when it is called: there is work, and nobody serves
    """

    def __init__(
        self,
        committer: Committer,
        sessions: Sessions,
        pauses: PauseBook,
        dice: Dice,
        batch_rows: int,
    ) -> None:
        self._committer = committer
        self._pauses = pauses
        self._sessions = sessions
        self._dice = dice
        self._batch_rows = batch_rows
        self._hungry: set[str] = set()
        self._suspect: set[str] = set()
        self._held_back: set[str] = set()
        self._served_last = ""
        self.on_call: dict[str, Callable[[], None]] = {}
        self._work = asyncio.Event()
        self._loop = Loop(
            "serving the streams",
            wait=self._until_hungry,
            work=self._serve_all,
            retry_seconds=OUTAGE_PAUSE_SECONDS,
        )

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    def feed(self, app_name: str, ready: int = READY) -> None:
        """A stream may have tasks that can be acquired."""
        (self._suspect if ready == SUSPECT else self._hungry).add(app_name)
        self._work.set()

    def feed_all(self, ready: frozenset[str], suspect: frozenset[str]) -> None:
        """What the store says of all streams."""
        self._suspect &= suspect
        for session in self._sessions:
            if session.reserved_for not in suspect:
                session.reserved_for = None
        if ready or suspect:
            self._hungry |= ready
            self._suspect |= suspect
            self._work.set()

    def credit(self) -> None:
        """An executor has places free."""
        if self._hungry or self._suspect:
            self._work.set()

    def covers(self, app_name: str) -> bool:
        """Whether this manager's executors have places free for a stream."""
        serving = self._sessions.serving(app_name)
        if not serving:
            return app_name in self.on_call
        return any(session.free > 0 for session in serving)

    def served(self) -> set[str]:
        """Streams whose tasks this manager can push, now or after a call."""
        return self._sessions.app_names() | self.on_call.keys()

    def _unserved(self, app_name: str) -> None:
        call = self.on_call.get(app_name)
        if call is not None:
            call()

    async def _until_hungry(self) -> None:
        await self._work.wait()
        self._work.clear()

    async def _serve_all(self) -> None:
        busy = True
        while busy:
            busy = False
            for app_name in sorted(self._suspect):
                busy |= await self._serve_suspect(app_name)
            for app_name in self._in_turn():
                busy |= await self._serve(app_name)

    def _in_turn(self) -> list[str]:
        """Hungry streams, the one served last at the end: none takes every free place."""
        names = sorted(self._hungry)
        turn = bisect_right(names, self._served_last)
        return names[turn:] + names[:turn]

    async def _serve(self, app_name: str) -> bool:
        """One push. False when there is nobody to push to, or nothing to push."""
        serving = self._sessions.serving(app_name)
        if not serving:  # whoever comes to serve it feeds it
            self._hungry.discard(app_name)
            self._unserved(app_name)
        free = [s for s in serving if s.free > 0]
        if not free:
            return False
        session = max(free, key=lambda s: s.free)
        limit = min(session.free, self._batch_rows)
        if len(free) > 1:
            limit = min(limit, max(1, session.free // SHARE_AMONG_MANY))
        self._hungry.discard(app_name)
        found = await self._acquire(session, app_name, limit, READY, feed_again=self._hungry)
        if found.looked:
            self._served_last = app_name
        if found.more:
            self._hungry.add(app_name)
            return True
        return bool(found.looked)

    async def _serve_suspect(self, app_name: str) -> bool:
        """Suspect tasks run alone: find an executor with nothing to lose, or let one get so."""
        serving = self._sessions.serving(app_name)
        if not serving:
            self._suspect.discard(app_name)
            self._unserved(app_name)
        sessions = [
            s
            for s in serving
            if s.status is ExecutorStatus.ACTIVE
            and s.capacity > 0
            and s.alone not in s.leases
            and s.reserved_for in (None, app_name)
        ]
        if not sessions:
            return False
        session = min(sessions, key=lambda s: (s.reserved_for is None, len(s.leases)))
        session.reserved_for = app_name
        if session.leases:
            return False
        self._suspect.discard(app_name)
        found = await self._acquire(session, app_name, 1, SUSPECT, feed_again=self._suspect)
        session.reserved_for = None
        if found.looked:
            session.alone = next(iter(session.leases), None)
            self._suspect.add(app_name)
        return True

    async def _acquire(
        self, session: Session, app_name: str, places: int, ready: int, feed_again: set[str]
    ) -> Found:
        """Lease up to `places` tasks to an executor and push them; those that slots and pauses
        hold are held on the way."""
        acquisition = Acquisition(
            self._committer,
            self._pauses,
            session,
            app_name,
            self._dice.nonce(),
            places=places,
            limit=max(places, self._batch_rows) if app_name in self._held_back else places,
            ready=ready,
        )
        try:
            found = await self._committer.transact(acquisition.attempt)
        except BaseException:
            feed_again.add(app_name)
            if acquisition.tried:  # tasks may be leased that nobody was sent: they go back at the
                self._sessions.close(session)  # executor's next connect
            raise
        (self._held_back.add if found.held else self._held_back.discard)(app_name)
        if found.session_over:
            self._sessions.close(session)
        elif found.assignments and session.open:
            session.push(found.assignments)
        elif found.assignments:
            await self._give_back(session.executor_id, found.assignments)
        return found

    async def _give_back(self, executor_id: str, assignments: Sequence[Assignment]) -> None:
        """The socket closed while the lease was written: nobody has begun the work."""
        await self._committer.apply_all(
            [(a.id, given_back(executor_id, epoch=a.epoch)) for a in assignments]
        )
