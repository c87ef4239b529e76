"""Lets stages begin only while their leases are known to stand.

A process can be stopped for longer than its lease: by a signal, with its machine, or by a command
that blocks its event loop. What a manager sent before is then still in the socket, although its
lease has ended and another executor may run it. So a stage begins only if a manager has answered
lately; otherwise it waits until a manager has been asked.
"""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from kaiju_tasks.executor.clock import Clock

__all__ = ["Moment", "StartGate"]


class Moment(Struct, frozen=True):
    """A time in seconds, by two clocks: the monotonic one, and one that can be set."""

    time: float
    wall: float


NEVER = Moment(float("-inf"), float("-inf"))


class StartGate:
    """Is open for some seconds after a manager was asked and has answered.

    `seconds_left` may be read from any thread.

    :ivar on_doubt: called when a start has to wait: ask a manager
    :ivar beat_at: when the event loop was last seen to run, in seconds of the clock
    :ivar stall_seconds: a process that stands still for longer has to ask again
    """

    def __init__(self, clock: Clock) -> None:
        self.on_doubt: Callable[[], None] = lambda: None
        self.stall_seconds = 0.0
        self._clock = clock
        self._asked = NEVER
        self._open_seconds = 0.0
        self._closes_at = float("inf")
        self.beat_at = clock.time()
        self._waiting: list[Callable[[], None]] = []

    def moment(self) -> Moment:
        """The present, to be passed to `renewed` when a request that is sent now is answered."""
        return Moment(self._clock.time(), self._clock.wall())

    def start(self) -> None:
        """The event loop runs, and `beat` is called at regular intervals from now on."""
        self.beat_at = self._clock.time()

    def beat(self) -> float:
        """The event loop runs. If it has stood still, the gate is shut until a manager has answered
        a request that is sent from now on.

        :returns: the seconds for which it stood still; 0 if it did not
        """
        now = self._clock.time()
        still, self.beat_at = now - self.beat_at, now
        if still <= self.stall_seconds:
            return 0.0
        self._asked = Moment(now, NEVER.wall)
        return still

    def renewed(self, asked: Moment, open_seconds: float) -> None:
        """Open the gate: a manager has answered a request.

        :param asked: when the request was sent
        :param open_seconds: how long stages may begin after that
        """
        if asked.time >= self._asked.time:
            self._asked, self._open_seconds = asked, open_seconds
            self._closes_at = float("inf")
        if self.seconds_left() > 0:
            waiting, self._waiting = self._waiting, []
            for begin in waiting:
                begin()
        elif self._waiting:
            self.on_doubt()

    def shorten(self, seconds: float) -> None:
        """Shut the gate after this time at the latest, unless a manager answers before."""
        self._closes_at = self._clock.time() + seconds

    def seconds_left(self) -> float:
        """Seconds for which stages may begin; 0 or less if none may begin now."""
        asked, now = self._asked, self._clock.time()
        return min(
            self._open_seconds - (now - asked.time),
            self._open_seconds - abs(self._clock.wall() - asked.wall),
            self.stall_seconds - (now - self.beat_at),
            self._closes_at - now,
        )

    def when_open(self, begin: Callable[[], None]) -> None:
        """Call `begin` when the gate is open: now, or after a manager has answered."""
        if self.seconds_left() > 0:
            begin()
            return
        self._waiting.append(begin)
        self.on_doubt()

    async def opened(self) -> None:
        """Wait until the gate is open."""
        while self.seconds_left() <= 0:
            opened = asyncio.Event()
            self.when_open(opened.set)
            await opened.wait()
