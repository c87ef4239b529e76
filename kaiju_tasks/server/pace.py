"""Makes clients rest that use much of the event loop without an effect, while others work.

What has an effect - tasks that are created, stages that are reported - is never held up here.
Reads, errors, pings and reports of leases that have ended are: a client that spends more than a
tenth of the loop on them gets a tenth of it.
"""

import asyncio
from collections.abc import Callable

from kaiju_tasks.rpc import Effort

__all__ = ["MESSAGE_SECONDS", "Pace"]

FREE_SECONDS = 0.1
"""The time of the loop that a client may use before it rests. Half of it is forgotten each
second."""
RESTS = 9.0
"""How long a client rests, as a multiple of the time that it used."""
REST_SECONDS_MAX = 5.0
CLIENTS_MAX = 10_000
MESSAGE_SECONDS = 2e-4
BYTE_SECONDS = 5e-9
"""What it costs to receive a message and to send its answer: 5 ms for 1 MiB."""
BUSY_SECONDS = 1.0
"""The time after something with an effect for which others rest."""


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Client:
    """What a client has used.

    :ivar spent: seconds of the loop, at `counted_at`
    :ivar usual: what one of its last messages has cost
    :ivar rest_until: when it may go on
    """

    __slots__ = ("counted_at", "rest_until", "spent", "turn", "usual")

    def __init__(self) -> None:
        self.spent = self.usual = 0.0
        self.counted_at = self.rest_until = 0.0
        self.turn = asyncio.Lock()

    def spent_at(self, now: float) -> float:
        return float(self.spent * 0.5 ** (now - self.counted_at))

    def rest(self, now: float, seconds: float) -> None:
        until = max(self.rest_until, now) + RESTS * seconds
        self.rest_until = min(until, now + REST_SECONDS_MAX)


class Pace:
    """What all clients have used of the event loop lately."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._last: tuple[str, float] = ("", float("-inf"))
        self._previous: tuple[str, float] = ("", float("-inf"))

    def rests(self, client: str) -> bool:
        """Whether a client has to wait for its turn."""
        one = self._clients.get(client)
        if one is None or one.spent <= FREE_SECONDS:  # it only becomes less
            return False
        now = _now()
        return one.spent_at(now) > FREE_SECONDS and self._others_work(client, now)

    async def turn(self, client: str, is_gone: Callable[[], bool] = lambda: False) -> None:
        """Wait until a client may go on.

        :param is_gone: whether the connection that waits has ended; then others go on at once
        """
        one = self._clients.get(client)
        if one is None or not self.rests(client):
            return
        async with one.turn:
            if is_gone():
                return
            await asyncio.sleep(one.rest_until - _now())
            one.rest(_now(), one.usual)  # its other messages come after it

    def answered(self, client: str, effort: Effort, size: int) -> None:
        """Count what the answer to a message has cost.

        :param size: of the message and its answer, bytes
        """
        if effort.useful:
            now = asyncio.get_running_loop().time()
            if client != self._last[0]:
                self._previous = self._last
            self._last = (client, now)
            return
        self.charge(client, effort.seconds + MESSAGE_SECONDS + BYTE_SECONDS * size)

    def charge(self, client: str, seconds: float) -> None:
        """Count time of the loop that had no effect."""
        now, one = _now(), self._clients.get(client)
        if one is None:
            self._forget_the_frugal(now)
            one = self._clients[client] = _Client()
        one.spent, one.counted_at = one.spent_at(now) + seconds, now
        if seconds > one.usual:
            one.rest(now, seconds - one.usual)
        one.usual += (seconds - one.usual) / 4

    def _forget_the_frugal(self, now: float) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            kept = {name: one for name, one in self._clients.items() if one.rest_until > now}
            self._clients = kept if len(kept) < CLIENTS_MAX else {}

    def _others_work(self, client: str, now: float) -> bool:
        return any(
            other != client and now - at < BUSY_SECONDS
            for other, at in (self._last, self._previous)
        )
