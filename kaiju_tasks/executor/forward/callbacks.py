"""Awaits what a service sends later about work that it has accepted."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator

from yarl import URL

from kaiju_tasks.executor.failures import ResultTooLarge
from kaiju_tasks.executor.forward.room import Room

__all__ = ["Callback", "CallbackPortTaken", "Callbacks"]

WAITING_MAX = 100
WAITING_LARGE = 2
"""How many of the largest messages may wait."""
BYTES_MAX = 256 * 1024 * 1024
"""The most bytes of the waiting messages of all calls: two of the largest that settings allow."""
TOKEN_BYTES = 16


class CallbackPortTaken(Exception):
    """The executor cannot listen at the address of the callbacks."""


class Callback:
    """The address at which a service reports about the work of one call.

    :ivar url: contains the token
    :ivar token: random. Only the service gets it, and it ends with the call
    :ivar limit: the most bytes of one message
    :ivar room: counts the bytes of the messages that arrive or wait
    """

    def __init__(self, base: URL, token: str, limit: int, whole: Room) -> None:
        self.url = base / token
        self.token = token
        self.limit = limit
        self.room = Room(WAITING_LARGE * limit, whole)
        self._messages: asyncio.Queue[bytes | ResultTooLarge] = asyncio.Queue()
        self._failed = False

    def put(self, message: bytes) -> bool:
        """Keep a message, whose bytes were taken from the room, until it is taken.

        :returns: False if too many messages wait; this one is not kept then
        """
        if self._messages.qsize() >= WAITING_MAX:
            return False
        self._messages.put_nowait(message)
        return True

    def fail(self, error: ResultTooLarge) -> None:
        """Let the call fail after the messages that wait, however many these are."""
        if not self._failed:
            self._failed = True
            self._messages.put_nowait(error)

    async def next(self) -> bytes:
        """Wait for the next message.

        :raises ResultTooLarge: it was too large
        """
        message = await self._messages.get()
        if isinstance(message, ResultTooLarge):
            raise message
        self.room.leave(len(message))
        return message

    def close(self) -> None:
        """Forget the messages that wait."""
        while not self._messages.empty():
            message = self._messages.get_nowait()
            if isinstance(message, bytes):
                self.room.leave(len(message))


class Callbacks:
    """The callbacks of all calls that are under way.

    :ivar url: the address of this executor, as the service reaches it
    """

    def __init__(self, url: URL) -> None:
        self.url = url.with_query(None).with_fragment(None)
        self._callbacks: dict[str, Callback] = {}
        self._room = Room(BYTES_MAX)

    @contextlib.contextmanager
    def expecting(self, limit: int) -> Iterator[Callback]:
        """Accept messages about a call until the end of the block."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        callback = self._callbacks[token] = Callback(self.url, token, limit, self._room)
        try:
            yield callback
        finally:
            del self._callbacks[token]
            callback.close()

    def find(self, path: str) -> Callback | None:
        """The callback at the path of a URL; None if no call, or none any more, has it."""
        return self._callbacks.get(path.rpartition("/")[2])
