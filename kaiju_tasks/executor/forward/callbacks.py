"""Awaits what a service sends later about work that it has accepted."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator

from yarl import URL

from kaiju_tasks.executor.failures import ResultTooLarge

__all__ = ["Callback", "CallbackPortTaken", "Callbacks"]

WAITING_MAX = 100
TOKEN_BYTES = 16


class CallbackPortTaken(Exception):
    """The executor cannot listen at the address of the callbacks."""


class Callback:
    """The address at which a service reports about the work of one call.

    :ivar url: contains a random token. Only the service gets it, and it ends with the call
    :ivar limit: the most bytes of one message
    """

    def __init__(self, url: URL, limit: int) -> None:
        self.url = url
        self.limit = limit
        self._messages: asyncio.Queue[bytes | ResultTooLarge] = asyncio.Queue(WAITING_MAX)

    def put(self, message: bytes | ResultTooLarge) -> bool:
        """Keep a message, or the failure of one that is too large, until it is taken.

        :returns: False if too many messages wait; this one is not kept then
        """
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    async def next(self) -> bytes:
        """Wait for the next message.

        :raises ResultTooLarge: it was too large
        """
        message = await self._messages.get()
        if isinstance(message, ResultTooLarge):
            raise message
        return message


class Callbacks:
    """The callbacks of all calls that are under way.

    :ivar url: the address of this executor, as the service reaches it
    """

    def __init__(self, url: URL) -> None:
        self.url = url.with_query(None).with_fragment(None)
        self._callbacks: dict[str, Callback] = {}

    @contextlib.contextmanager
    def expecting(self, limit: int) -> Iterator[Callback]:
        """Accept messages about a call until the end of the block."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        callback = self._callbacks[token] = Callback(self.url / token, limit)
        try:
            yield callback
        finally:
            del self._callbacks[token]

    def find(self, path: str) -> Callback | None:
        """The callback at the path of a URL; None if no call, or none any more, has it."""
        return self._callbacks.get(path.rpartition("/")[2])
