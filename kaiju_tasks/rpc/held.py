"""Bounds the memory that is held for clients."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from kaiju_tasks.errors import TooManyRequests

__all__ = ["Held", "Holding"]

RETRY_SECONDS = 1


class Held:
    """The bytes that are held.

    :param total: the most for all clients
    :param each: the most for each client
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._of: Counter[str] = Counter()
        self.bytes = 0

    @contextmanager
    def holding(self, client: str) -> Iterator["Holding"]:
        """Hold bytes for a client until the end of the block."""
        one = Holding(self, client)
        try:
            yield one
        finally:
            self._grow(client, -one.bytes)

    def _grow(self, client: str, size: int) -> None:
        own = self._of[client] + size
        if size > 0 and (own > self._each or self.bytes + size > self._total):
            raise TooManyRequests(
                "the batches that are being answered have too many results: send fewer at once",
                retry_after=RETRY_SECONDS,
            )
        self.bytes += size
        self._of[client] = own
        if not own:
            del self._of[client]


class Holding:
    """What is held for one client.

    :ivar bytes: the number of bytes
    """

    def __init__(self, held: Held, client: str) -> None:
        self._held = held
        self._client = client
        self.bytes = 0

    def grow(self, size: int) -> None:
        """Hold more.

        :raises TooManyRequests: there is no room
        """
        self._held._grow(self._client, size)
        self.bytes += size
